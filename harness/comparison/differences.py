"""What is not the same in the runs of two sides: settings, versions, machine, program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from harness.capture.comparison_record import Difference
from harness.capture.run_record import RunRecord
from harness.comparison.sides import Sides
from harness.settings.added import whole
from harness.settings.marks import mark_of
from harness.settings.schema import show

NOT_KNOWN: Final = "not known"
_MAY_VARY: Final = ("seed", "host")
"""In runs that are repetitions of one another."""
_DIGITS: Final = 12
"""Of a digest or a commit, as many as tell two apart."""


def differences(sides: Sides) -> tuple[Difference, ...]:
    """Return what differs between the sides, or among the runs of one; the machine first.

    A setting counts if another value makes another measurement; of a run that does not have it, it
    is not known.
    """
    candidate = [run.record for run in sides.candidate]
    base = [run.record for run in sides.base]
    found = []
    for kind, of in _KINDS.items():
        mine, theirs = [of(record) for record in candidate], [of(record) for record in base]
        for what in dict.fromkeys(name for values in (*mine, *theirs) for name in values):
            left, right = _values(mine, what), _values(theirs, what)
            if {*left} != {*right} or len({*left}) > 1:
                found.append(Difference(what=what, kind=kind, candidate=left, base=right))
    return tuple(found)


def varied(records: Sequence[RunRecord]) -> list[str]:
    """Return in what the runs of a side differ, that are to be repetitions of one another.

    The seed may differ, and the host.
    """
    found = []
    for of in _KINDS.values():
        runs = [of(record) for record in records]
        names = dict.fromkeys(name for values in runs for name in values)
        found += [name for name in names if len(set(_values(runs, name))) > 1]
    return [name for name in found if name not in _MAY_VARY]


def _values(of_runs: Sequence[Mapping[str, str]], what: str) -> tuple[str, ...]:
    """Return the different values that the runs of a side have."""
    return tuple(dict.fromkeys(values.get(what, NOT_KNOWN) for values in of_runs))


def _settings(record: RunRecord) -> dict[str, str]:
    return {
        name: _shown(value)
        for name, value in whole(record.requested).items()
        if mark_of(name).measured and value != {}
    }


def _shown(value: Any) -> str:
    return show(value)


def _versions(record: RunRecord) -> dict[str, str]:
    return dict(record.versions)


def _machine(record: RunRecord) -> dict[str, str]:
    return {
        "host": record.host,
        "device": record.device,
        "device name": record.device_name or NOT_KNOWN,
        "emulated": _shown(record.emulated),
        "ranks": str(record.world_size),
    }


def _program(record: RunRecord) -> dict[str, str]:
    ran = record.program
    if ran is None:
        return {}
    return {
        "program": ran.source,
        "its words": " ".join(ran.args) or "none",
        "its file (sha256)": ran.sha256[:_DIGITS] or NOT_KNOWN,
        "its commit": _commit(ran.commit, is_changed=ran.is_changed),
    }


def _commit(commit: str, *, is_changed: bool | None) -> str:
    if not commit:
        return NOT_KNOWN
    return commit[:_DIGITS] + (" and changes" if is_changed else "")


_KINDS: Final[Mapping[Any, Any]] = {
    "machine": _machine,
    "program": _program,
    "version": _versions,
    "setting": _settings,
}
"""What may differ; the settings, which may be many, last."""


def unlike_devices(sides: Sides) -> Iterator[str]:
    """Yield a remark where the sides ran on different devices or machines."""
    names = {(run.record.host, run.record.device_name) for run in sides.runs}
    if len(names) > 1:
        yield "the runs are of different machines or devices: a difference may be theirs"
