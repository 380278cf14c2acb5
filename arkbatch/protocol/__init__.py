"""What a service speaks: usage, error codes, verdicts, server-sent events, signatures."""
