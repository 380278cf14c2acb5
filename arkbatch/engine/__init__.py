"""The worker pool, the life of one row, and the opening and resuming of a run."""
