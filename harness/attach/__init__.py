"""A window in a live engine: asked for over HTTP, waited for, read, and judged."""
