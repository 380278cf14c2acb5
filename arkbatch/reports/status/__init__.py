"""The state of a run directory: status, show, check."""
