"""Reports on a run directory or an input: status, show, check."""
