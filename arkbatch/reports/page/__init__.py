"""The report page: what happened in a run, as one HTML file or live in a browser."""
