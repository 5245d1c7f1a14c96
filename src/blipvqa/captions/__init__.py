"""Captions: pictures described in a sentence. In reading order:

- `task`: what the training loop is handed
- `batches`: rows to a batch
- `predictions`: a model and a split to captions; and a caption of one's own picture, with where each word looked
- `neighbours`: the captions of the most similar training pictures
- `terms`: things that captions name
- `cider`: CIDEr-D and ROUGE-L
- `measures`: what is counted of each described picture
- `scores`: predictions to numbers with intervals, and what needs no picture
- `validation`: the numbers of an epoch
- `evaluation`: every number of a run
- `titles`: the measures that pages show first
- `tables`: tables of captions and measures
- `figures`: figures of the same
- `pictures`: pictures with their captions
- `report`: `report.html` of a run
- `views`: what notebooks 01 and 02 show of captions
- `card`: the model card
"""
