"""Every knob of an experiment, and how a file becomes one."""
