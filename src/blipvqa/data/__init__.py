"""From a source to checked rows, pictures and batches.

In reading order: `formats` (files and Hub data to raw tables), `rows` (checked rows, a line for each fault),
`splitting` (which rows are held out), `images` (any picture to pixels, and the store of resized ones),
`picture_sources` (files, arrays and Pillow pictures as one thing), `depth` (more than 8 bits to 8), `deep_png` and
`deep_tiff` (files of more than 8 bits), `decoding_memory` (what decoding may hold), `dataset` (one split as the models
get it), `fingerprint` (a digest of every row), `batches` (the order of an epoch and its loader), `augmentation` (light
changes in training), `duplicates` (pictures that look alike), `one_colour` (pictures that show nothing), `corruptions`
(pictures as scanners and networks spoil them), `synthetic` and `synthetic_questions` (the drawn tissue of the demo).
"""
