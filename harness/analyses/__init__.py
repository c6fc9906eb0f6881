"""Analyses: each is a plain function from a capture to a table. No drawing, no files."""
