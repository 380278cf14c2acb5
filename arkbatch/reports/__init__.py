"""Reads what a run left behind and turns it into values to print."""
