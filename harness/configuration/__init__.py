"""Command line and YAML become one checked request for each job."""
