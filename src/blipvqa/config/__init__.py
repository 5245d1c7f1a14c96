"""Every knob of an experiment, and how a file becomes one.

In reading order: `knobs` (one tree of settings, a comment a field), `reading` (YAML and overrides to a `Config`, what
differs between two), `paths` (where relative paths start from).
"""
