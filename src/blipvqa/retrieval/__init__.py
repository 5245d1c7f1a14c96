"""Retrieval: which picture a text is of, and which text a picture has. In reading order:

- `gallery`: the distinct pictures and texts of a split, and which belong together
- `nearest`: the best candidates of each query, in blocks
- `measures`: what is counted of each search
"""
