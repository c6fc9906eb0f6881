"""Comparisons of two sources of a capture. A new one is a function here, and a line in `CHECKS`."""
