"""The ranks of a job together: compared, and merged into one trace for viewing."""
