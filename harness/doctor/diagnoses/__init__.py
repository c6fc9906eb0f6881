"""What ``harness doctor`` looks for, by what needs it; the list is `CHECKS` of diagnose.py."""
