"""The public face, for programs: profiles of their own loops, and results as values.

Import its names from ``harness``; they are loaded when they are first used, and torch with the
first step only.
"""
