"""X.509 for labs: an authority, the leaves it issues, the files they live in, and how to look at them."""
