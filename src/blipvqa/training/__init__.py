"""One loop for every task.

In reading order: `task` (what a task hands to the loop), `loop` (from a config to a run folder), `step` (one optimizer
step), `readings` (what it gave, read later), `stopping` and `interrupts` (why a run stops early), `optimizer` (which
weights are trained, and how fast), `progress` (how far it is, and the best epoch), `record` (what training leaves in
the run folder), `cut_texts` (which texts are longer than is read), `checkpoints` (weights and position that a kill
cannot harm), `settings` (what is refused before anything slow), `accelerator` (device and precision, whatever the
environment holds), `shares` (what several processes do together, each its part), `trained` (the doors to a trained run:
its settings and its data are what made it), `stored` (what its model said, kept as long as what made it stays equal),
`own_settings` (how a run finds its answers, wherever its model is taken), `stages` (runs that begin with the weights of
others), `starts` (what those had learnt), `comparison` (two runs on the same rows, measure by measure and row by row).
"""
