"""Worker pool, the life of one row, and opening and resuming a run."""
