"""Retrieval: which picture a text is of, and which text a picture has. In reading order:

- `task`: what the training loop is handed
- `batches`: rows to a batch
- `validation`: the numbers of an epoch
- `gallery`: the distinct pictures and texts of a split, and which belong together
- `encoding`: pictures and texts to features, and pairs of them to matching scores
- `searches`: every search of a gallery both ways, by cosine and with the best matched
- `predictions`: a model and a split to the searches of its rows
- `measures`: what is counted of each search
- `scores`: searches to numbers with intervals, chance, and what needs the picture
- `evaluation`: every number of a run
- `feature_files`: features on the disk
- `index`: pictures and texts that can be searched, in the folder of the run that made it
- `search`: pictures by words, words by picture, pictures by picture
- `clips`: films by words, words by film
- `matching`: one picture and one text, and where the model looked
- `titles`: the measures that pages show first
- `tables`: tables of searches and measures
- `figures`: figures of the same
- `pictures`: pictures and texts that found each other
- `report`: `report.html` of a run
- `views`: what notebooks 01 and 02 show of retrieval
- `card`: the model card
"""
