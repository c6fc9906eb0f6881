"""Write docs/causes.md from the tables of causes; --check only compares."""

from __future__ import annotations

from collections.abc import Iterator

from generated import write_or_check

from harness.verification.causes import BY_PROFILER
from harness.verification.causes.base import Cause
from harness.verification.causes.settings import OF_SETTING, Causes, Stated

HEAD = """# Why something is missing

Made by `make docs` from the tables that the checks use. Where a setting was not delivered, its
check looks for the evidence of each cause in this order. It prints the first cause of which it
finds evidence, with what it found: the file, the line of the log, or the count. If it finds none,
it says that the cause is not known, and what it looked for.

A log is a run's `harness.log`, and torch_npu's own `logs/*.log` in a capture. An imported capture
has no `harness.log`, and only files that were copied along. So evidence marked "in a run" is not
looked for there.

Where a program of the user's ran (`-- train.py`), its own count of its steps comes first: if it
ended before the schedule was full, that is the cause.
"""


def rows(setting: str, causes: Causes, profiler: str) -> Iterator[str]:
    """Yield the lines of one setting."""
    of_profiler = BY_PROFILER[profiler]
    listed: list[tuple[str, Cause | Stated]] = [("", cause) for cause in causes.stated]
    listed += [(key, cause) for key in causes.missing for cause in of_profiler[key]]
    for missing, cause in listed:
        says, shown_by = (text.replace("|", "\\\\|") for text in (cause.says, cause.shown_by))
        yield f"| `{setting}` | {missing} | {says} | {shown_by} |"


def page() -> str:
    """Return the whole page."""
    lines = [HEAD]
    for profiler, settings in OF_SETTING.items():
        lines += [f"## {profiler}\n", "| setting | no | possible cause | evidence |"]
        lines.append("| --- | --- | --- | --- |")
        for setting, causes in settings.items():
            lines += rows(setting, causes, profiler)
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    write_or_check("causes.md", page())
