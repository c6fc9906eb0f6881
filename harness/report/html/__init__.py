"""One HTML file that needs nothing else: pages of sections and figures, and how they are drawn."""
