"""Shards of an input, the same session on many machines, leases on the limits, and the merge."""
