"""The readers of torch_npu's captures: text export, database, timeline."""
