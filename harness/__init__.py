"""A configuration-driven profiling harness for PyTorch on CPU, NVIDIA GPUs and Ascend NPUs."""

__version__ = "0.1.0"

from harness.steps import stage, step

__all__ = ["__version__", "stage", "step"]
