"""What a capture tells twice, compared. A new one is a function here and a line in `CHECKS`."""
