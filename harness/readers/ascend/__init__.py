"""The readers of what torch_npu leaves: text, database, timeline."""
