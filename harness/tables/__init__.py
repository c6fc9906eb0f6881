"""The columns of every table, and helpers for their rows: what all tables of all captures share."""

from harness.tables.schemas import SCHEMAS, empty, frame, join_cycles, keep, put, write

__all__ = ["SCHEMAS", "empty", "frame", "join_cycles", "keep", "put", "write"]
