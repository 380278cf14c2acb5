"""Price book, tariffs, and the cost of usage."""
