"""The checks of ``harness doctor``, by device; the list is `CHECKS` of diagnose.py."""
