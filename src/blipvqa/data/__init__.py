"""From a source to checked rows, pictures and batches.

In reading order: `split_names` (which file is which split), `formats` (every kind of source, opened), `source_hints`
(what to do where none is), `zips` (a folder in a zip file), `tars` (shards of pictures and texts), `tar_members`
(their files), `layouts` (published sets, recognised), `medical_layouts` and `general_layouts` (each of them),
`text_tables` (jsonl, json, csv and tsv), `json_files` (rows one a line, or all in one value), `encodings` (of their
text), `sheets` (xlsx), `parquet`, `loaded_sets` (what the Hub's library loads), `saved_sets` (their rows),
`arrow_tables` (columns, undecoded and bounded), `raw` (a split as its source has it), `columns` (what its columns are
called here), `values` (cells as JSON can hold them), `row_table` (rows as columns), `image_files` (the files that rows
name), `plain_columns` (what is checked of many rows at once), `rows` (checked rows, a line for each fault), `looks`
(their pictures, each looked at once), `several_pictures` (of one row), `texts` (what may be wrong with a text),
`several_answers` (a list, or one cell of them), `labels` (whether a statement is true), `history` (the conversation
before a question), `candidates` (answers that a row brings to choose from), `groups` (which rows belong together),
`splitting` (which of them are held out), `held_out` (what another source holds out), `checking` (all of it, from a
config), `seen` (what pictures in large files are called), `images` (any picture to pixels, and the store of resized
ones), `shards` (its files), `cache` (what of it may be removed), `picture_sources` (files, arrays and Pillow pictures
as one thing), `depth` (more than 8 bits to 8), `deep_png` and `deep_tiff` (files of more than 8 bits), `tiff_slices`
(stacks under one header), `jpeg_ends` (JPEG files of half a picture), `decoding_memory` (what decoding may hold),
`medical_files` (DICOM files and slides: which part a row shows), `dicom`, `dicom_codecs` (its packed frames), `frames`
(of films and series), `slides`, `dataset` (one split as the models get it), `own_pictures` (pictures that belong to no
split), `fingerprint` (a digest of every row), `batches` (the order of an epoch and its loader), `augmentation` (light
changes in training), `duplicates` (pictures that look alike), `spellings` (values written in several ways),
`one_colour` (pictures that show nothing), `corruptions` (pictures as scanners and networks spoil them), `conversion`
(any source as parquet files), `synthetic`, `synthetic_drawing`, `synthetic_questions`, `synthetic_dialogues`,
`synthetic_captions`, `synthetic_faults`, `synthetic_several` and `synthetic_statements` (the drawn tissue of the
demos).
"""
