"""Learning on: data sets learnt one after the other, and what is forgotten.

In reading order: `stages` (the order, and every run that it takes), `rows` (folders of mixed rows: replay, questions
asked again, all at once), `distillation` (a loss that asks the last model), `mixing` (weights between two stages),
`words` (what is looked at before anything slow), `measures` (of a matrix of scores), `scores` (the matrix, and what was
forgotten), `sequence` (all of it in order), `tables`, `figures`, `pictures` and `report` (how it is looked at).
"""
