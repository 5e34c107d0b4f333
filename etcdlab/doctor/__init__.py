"""A look at the machine and at what dead labs left on it."""
