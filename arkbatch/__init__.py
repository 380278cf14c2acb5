"""arkbatch."""
