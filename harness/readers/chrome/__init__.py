"""The reader of torch's chrome traces."""
