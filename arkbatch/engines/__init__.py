"""Runs: brings decisions and adapters together."""
