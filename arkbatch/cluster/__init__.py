"""Runs on many machines: shards, workers, leases on the limits, and the merge."""
