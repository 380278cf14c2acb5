"""Decides: plain functions and small classes that are given `now` and chance as arguments. No I/O."""
