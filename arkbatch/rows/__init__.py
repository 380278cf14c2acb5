"""Turns input of any format into rows: number, identity and request body."""
