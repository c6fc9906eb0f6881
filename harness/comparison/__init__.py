"""Runs are compared: what differs, whether a step is slower, and which operators made it so."""
