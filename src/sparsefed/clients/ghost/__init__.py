"""Per-client gradient norms and clipped sums from one pass, layer by layer."""
