"""Live page and metrics of a running session, over loopback."""
