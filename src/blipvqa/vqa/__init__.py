"""Questions and answers. In reading order:

- `task`: what the training loop is handed
- `batches`: rows to a batch
- `predictions`: a model and a split to predictions; and an answer about one's own picture
- `stored_answers`: predictions kept as long as what made them stays the same
- `answers`: an answered question, and when two rows ask the same
- `measures`: what is counted of each answer
- `baselines`: what answers reach that never see the picture
- `scores`: predictions to numbers with intervals
- `validation`: the numbers of an epoch
- `trained`: the doors to a trained run: its settings and its data are what made it
- `evaluation`: every number of a run
- `grounding`: how much of a score needs the picture
- `confidence`: how sure, and how rightly
- `slices`: where a model fails
- `comparison`: which differences between two runs are real
- `notes`: what is known to be wrong with a data set
- `stress`: the score against corrupted pictures
- `explanations`: which part of a picture moved an answer
- `explained`: explanations kept in the run folder
- `titles`: the measures that pages show first
- `tables`: tables of questions, answers and measures
- `figures`: figures of the same
- `pictures`: pictures with their questions and answers
- `report`: `report.html` of a run
- `comparison_page`: the page that compares two runs
- `card`: the model card
- `review`: a pathologist's verdicts
"""
