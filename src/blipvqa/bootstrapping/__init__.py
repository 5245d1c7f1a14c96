"""CapFilt: a captioner writes a text to each picture, a filter drops what does not match, and pre-training begins anew.

In reading order: `stages` (the runs that it is made of, each an ordinary run folder), `members` (a trained captioner or
filter), `candidates` (the texts of a picture, from the source and written), `judging` (how well each fits, by what
filters and captioners say), `thresholds` (where a match begins), `folder` (what was kept, as a source like any other,
with a card), `truth` (whether a text is true of its picture, where the data knows), `scores` (how well the filter
filters, and what was kept), `rounds` (all of it in order), `tables`, `figures`, `pictures` and `report` (how it is
looked at), `sheet` (pairs for a person to judge).
"""
