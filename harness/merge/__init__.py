"""Runs over counter groups become one table."""
