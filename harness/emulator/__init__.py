"""A stand-in for CANN: the real torch_npu runs on it without an NPU; see `build`."""
