"""Every knob of an experiment, and how a file becomes one.

In reading order: `knobs` (one tree of settings, a comment a field), `data_knobs` (its part for the data), `task_knobs`
(for single tasks), `synthetic_knobs` (for the drawn data), `kinds` (of their values), `plain_yaml` (YAML in which a
value means what it looks like), `problems` (all that is wrong with a config, in one message), `reading` (a file and
overrides to a `Config`, what differs between two), `recipes` (which settings a result depends on), `paths` (where
relative paths start from).
"""
