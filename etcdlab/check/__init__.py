"""Proof, by trying, that a running lab is as secure as its plan says."""
