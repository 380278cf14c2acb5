"""Answers and vectors of a run as files."""
