"""Types and words that every other package shares; no input or output except where a module says so."""
