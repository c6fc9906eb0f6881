"""A trace for a viewer: normalised, and served to the Perfetto UI on this machine."""
