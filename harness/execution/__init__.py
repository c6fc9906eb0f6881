"""A plan is carried out in a child process."""
