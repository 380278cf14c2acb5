"""An Ark look-alike to try things on without a key, and to test against."""
