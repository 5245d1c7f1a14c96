"""One loop for every task."""
