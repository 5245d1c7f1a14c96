"""Statements about two pictures: true or false. In reading order:

- `task`: what the training loop is handed
- `batches`: rows to a batch
- `order`: which statements are about the order of the pictures, and what they say of the other order
- `changes`: the same statements with pictures swapped, exchanged or dropped
- `predictions`: a model and a split to a probability each; and judging one's own two pictures
- `measures`: what is counted of each statement
- `scores`: predictions to numbers with intervals, and what needs no picture, or one of the two
- `validation`: the numbers of an epoch
- `evaluation`: every number of a run
- `titles`: the measures that pages show first
- `tables`: tables of statements and measures
- `figures`: figures of the same
- `pictures`: pairs with their statements
- `report`: `report.html` of a run
- `views`: what notebooks 01 and 02 show of pairs
- `card`: the model card
"""
