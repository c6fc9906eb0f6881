"""The order of the stages of a run; nothing else knows it.

Request ─ validate ─ plan ─ run ─ collect ─ verify ─ analyse ─ report. One value goes in, one
comes out; whatever happens in between, run.json is true.
"""
