"""The run folder.

In reading order: `files` (written whole or not at all), `seals` (files that say what was written into them), `names` (a
folder has one), `identity` (which rows a run was made of), `run` (what a folder holds, and opening it), `lock` (one
process a folder), `seeds` (which runs are seeds of one recipe), `environment` (what a run depended on).
"""
