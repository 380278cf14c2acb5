"""Touches the world: one outside thing in each module, foreign exceptions translated on the spot."""
