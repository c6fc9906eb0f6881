"""A job of several ranks is one run: a folder with a run folder for each rank."""
