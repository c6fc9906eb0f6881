"""A configuration-driven profiling harness for PyTorch on CPU, NVIDIA GPUs and Ascend NPUs."""

__version__ = "0.1.0"
