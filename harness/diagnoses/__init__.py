"""What ``harness doctor`` looks for, by what needs it; `harness.doctor.CHECKS` is the list."""
