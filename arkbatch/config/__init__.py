"""Builds one frozen `Job` from a job file, flags and the environment."""
