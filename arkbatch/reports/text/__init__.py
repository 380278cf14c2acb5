"""Tables and summaries as plain text."""
