"""A job file, flags and the environment become one frozen `Job`."""
