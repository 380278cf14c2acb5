"""Types and words that every other package shares."""
