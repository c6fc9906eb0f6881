"""The readers of captures. A new one is a file here and a line in the table."""
