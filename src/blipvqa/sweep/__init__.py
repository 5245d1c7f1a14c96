"""`make sweep`: a run for each point of a grid of settings, through the same notebooks as `make run`.

In reading order: `grid` (every combination, checked whole before the first run), `running` (one after the other, or
side by side on several GPUs).
"""
