"""From a source to checked rows, pictures and batches.

In reading order: `formats` (files and Hub data to raw tables), `rows` (checked rows, a line for each fault),
`splitting` (which rows are held out), `images` (bytes to pixels, and the store of resized pictures), `dataset` (one
split as the models get it), `batches` (the order of an epoch and its loader), `augmentation` (light changes in
training), `duplicates` (pictures that look alike), `corruptions` (pictures as scanners and networks spoil them),
`synthetic` and `synthetic_questions` (the drawn tissue of the demo).
"""
