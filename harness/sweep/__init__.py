"""The jobs of a sweep, and the table of them."""
