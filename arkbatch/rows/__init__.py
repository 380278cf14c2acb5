"""Input in any format becomes rows with a number, an identity and a request body."""
