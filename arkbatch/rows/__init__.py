"""Turns input of any format into rows with a number, an identity and a request body."""
