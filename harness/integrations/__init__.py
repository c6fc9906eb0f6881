"""Callbacks for trainers of other packages; each module needs its package, an extra of harness."""
