"""Run a plan in a child process; record the steps of a loop."""
