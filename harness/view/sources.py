"""Which traces a viewer is to show: those of a run folder, of its ranks, or of a capture."""

from __future__ import annotations

from pathlib import Path

from harness.capture.sources import rank_of, sources
from harness.errors import Problem, RefusedError
from harness.paths import RunFolder
from harness.readers.ascend import layout
from harness.view.survey import TraceFile

_ENDINGS = (".json", ".json.gz")


def traces_in(run: RunFolder) -> list[Path]:
    """Return the traces of a run folder, in order: one for each cycle, or for each slice of one."""
    found: list[Path] = []
    for path in sorted(run.raw.glob("*")):
        if path.is_dir():
            found += layout.slices(path, layout.TIMELINE)
        elif path.name.endswith(_ENDINGS) and "memory_timeline" not in path.name:
            # Of one that was being compressed when the harness was killed, the original.
            half = path.suffix == ".gz" and path.with_suffix("").exists()
            found += [] if half else [path]
    return found


def traces_at(path: Path) -> list[TraceFile]:
    """Return the traces of a capture that is no run: a file, a folder of one, or one of several.

    Raises:
        RefusedError: There is nothing at the path, or no trace in it.
    """
    if path.is_file():
        return [TraceFile(path)]
    found = [
        (trace, rank_of(source.path, path))
        for source in sources(path, [], [])
        for trace in _traces_of(source.path)
    ]
    if not found:
        fix = "name a run folder, a trace (.json, .json.gz) or a folder *_ascend_pt"
        raise RefusedError([_no_trace(path, "there is no trace in it", fix)])
    several = len({rank for _, rank in found}) > 1
    return [TraceFile(trace, rank if several else None) for trace, rank in found]


def no_trace_of_run(run: RunFolder) -> RefusedError:
    """Return what to say of a run folder without a trace."""
    if run.raw.is_dir() and any(run.raw.iterdir()):
        reason = (
            "what its profiler left has no trace: it is not analysed yet, or was exported as Db"
        )
        fix = f"python -m harness read {run.path}; or record with export_type=[Text]"
    else:
        reason = "it has no raw data, so there is no trace to show"
        fix = "name a run that recorded something; python -m harness list shows them"
    return RefusedError([_no_trace(run.path, reason, fix)])


def _traces_of(capture: Path) -> list[Path]:
    return layout.slices(capture, layout.TIMELINE) if capture.is_dir() else [capture]


def _no_trace(path: Path, reason: str, fix: str) -> Problem:
    return Problem(setting="view", given=str(path), reason=reason, fix=fix)
