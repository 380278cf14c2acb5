"""Reports what a run has cost, and whether that agrees with the provider's bill."""
