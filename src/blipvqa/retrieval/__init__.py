"""Retrieval: which picture a text is of, and which text a picture has. In reading order:

- `gallery`: the distinct pictures and texts of a split, and which belong together
- `encoding`: pictures and texts to features, and pairs of them to matching scores
- `nearest`: the best candidates of each query, in blocks
- `searches`: every search of a gallery both ways, by cosine and with the best matched
- `predictions`: a model and a split to the searches of its rows
- `measures`: what is counted of each search
"""
