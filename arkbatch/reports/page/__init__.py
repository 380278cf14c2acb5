"""The report page: a run as one HTML file, or live in a browser."""
