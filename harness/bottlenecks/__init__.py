"""What bounds each kind of kernel."""
