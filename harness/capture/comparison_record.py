"""compare.json: what differs between runs, whether a step is slower, and what made it so."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from harness.capture.merge_record import LeftOut
from harness.execution.protocol import SCHEMA_VERSION

Answer = Literal["slower", "faster", "no difference", "cannot tell", "not testable"]
"""Of the candidate, against the base. no difference: none beyond the margin, which was tested."""

Change = Literal[
    "new", "gone", "count", "shape", "dtype", "shape and dtype", "time", "within noise", "same"
]
"""What became of an operator or a kernel. within noise: the times of the runs of both sides
overlap."""

StepKind = Literal["unprofiled", "profiled"]


class ComparedRun(Struct, frozen=True, kw_only=True):
    """A run that was compared."""

    folder: str
    step_ns: int | None
    """The median of its steps, of the kind that is compared; null where it has none."""
    began_ns: int | None = None
    """When its first step began, in Unix nanoseconds; null where that is not known."""


class Difference(Struct, frozen=True, kw_only=True):
    """Something that is not the same in all runs."""

    what: str
    """A setting by its dotted name, a version, the host, the device, the program."""
    kind: Literal["setting", "version", "machine", "program"]
    candidate: tuple[str, ...]
    """Its values in the runs of that side, as they are typed."""
    base: tuple[str, ...]


class StepTimes(Struct, frozen=True, kw_only=True):
    """The step times of both sides, one figure for each run."""

    kind: StepKind
    """Of the steps that are compared."""
    candidate_ns: float
    """The median over its runs of the median step."""
    base_ns: float
    ratio: float
    """candidate_ns / base_ns."""
    answer: Answer
    margin: float
    """The relative change that matters."""
    confidence: float
    interval: tuple[float, float] | None = None
    """Of the ratio, at that confidence; null where a side has one run."""
    equivalence_interval: tuple[float, float] | None = None
    """Of the ratio, at the level of the test for no difference."""
    p_value: float | None = None
    """Of the Mann-Whitney U test, two-sided."""
    equivalence_p: float | None = None
    """Of the two one-sided tests against the margin, the larger."""
    method: str = ""
    """How the distribution of U was had."""
    seed: int = 0
    """Of the bootstrap."""
    noise: float | None = None
    """The standard deviation of one run's figure, relative."""
    more_runs: int | None = None
    """How many more on each side would tell, at this noise; null where the answer is another, or
    where so many are needed that none are proposed."""
    reason: str = ""
    """Why the runs are not testable."""


class Contribution(Struct, frozen=True, kw_only=True):
    """One operator, or kernel, of both sides; figures are of one step, the mean over the runs."""

    name: str
    change: Change
    candidate_shapes: list[list[int]] | None
    base_shapes: list[list[int]] | None
    candidate_dtypes: list[str | None] | None
    base_dtypes: list[str | None] | None
    candidate_count: float
    base_count: float
    candidate_ns: float
    base_ns: float
    contribution_ns: float
    """candidate_ns - base_ns."""


class Attribution(Struct, frozen=True, kw_only=True):
    """Which operators, or kernels, the difference of a profiled step consists of."""

    table: Literal["operators", "kernels"]
    rows: tuple[Contribution, ...]
    """The one that contributes most first; their contributions add up to the difference of the
    totals."""
    candidate_ns: float
    """Of all rows, in a step."""
    base_ns: float
    step_ns: tuple[float, float] | None
    """The mean recorded step of candidate and base; null where steps were not recorded."""
    outside_ns: float | None
    """The difference of the steps without that of the rows."""
    notes: tuple[str, ...] = ()


class ComparisonRecord(Struct, frozen=True, kw_only=True):
    """compare.json: what differs between runs, whether a step is slower, and what made it so."""

    schema_version: int = SCHEMA_VERSION
    candidate: tuple[ComparedRun, ...]
    base: tuple[ComparedRun, ...]
    emulated: bool
    """Whether the figures of a side are invented."""
    differences: tuple[Difference, ...]
    times: StepTimes | None
    """Null where times are not compared."""
    no_times: str = ""
    """Why."""
    attributions: tuple[Attribution, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
