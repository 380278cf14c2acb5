"""Observers of a session: progress bar, run log, notifications, control socket."""
