"""Attacks on the supervisor, and what they must not cost."""
