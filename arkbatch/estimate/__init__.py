"""Estimates tokens, cost and time of a run before it starts, from a sample of its input."""
