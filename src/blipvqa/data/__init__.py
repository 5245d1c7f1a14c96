"""From a source to checked rows and pictures."""
