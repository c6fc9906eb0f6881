"""Matrix products of given shapes and element types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from harness.errors import Problem
from harness.workloads.base import BuiltWorkload, Count, DType, Repeats, Setup, Step

if TYPE_CHECKING:
    import torch

Shape = tuple[Count, Count, Count]


class Matmul(BuiltWorkload, tag="matmul", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Multiply random matrices, once per step for every pair of a shape and an element type."""

    shapes: Annotated[tuple[Shape, ...], Meta(min_length=1)] = (
        (256, 256, 256),
        (512, 512, 512),
        (64, 2048, 512),
    )
    """Products ``[m, k, n]``: an m by k matrix times a k by n matrix. Read by: the workload."""
    dtypes: tuple[DType, ...] | None = None
    """Element types in place of `dtype`; null or empty: just `dtype`. Read by: the workload."""
    iterations: Repeats = 1
    """Times that a step repeats each product. Read by: the workload."""

    @property
    def pairs(self) -> list[tuple[Shape, DType]]:
        """Every shape with every element type, in the order in which a step runs them."""
        return list(product(self.shapes, self.dtypes or (self.dtype,)))

    @property
    def stages(self) -> tuple[str, ...]:
        """One stage per pair, e.g. ``matmul_256x256x256_float32``."""
        return tuple(f"matmul_{'x'.join(map(str, shape))}_{dtype}" for shape, dtype in self.pairs)

    def problems(self) -> Iterator[Problem]:
        """Yield shapes and element types that are listed twice: their stages would mix."""
        for setting, values in (("shapes", self.shapes), ("dtypes", self.dtypes or ())):
            counts = Counter(values)
            if repeated := [value for value in counts if counts[value] > 1]:
                yield Problem(
                    setting=f"workload.{setting}",
                    given=_typed(values),
                    reason=f"{_typed(repeated)} may be listed only once; "
                    "workload.iterations repeats every product",
                    fix=f"workload.{setting}={_typed(counts)}",
                )

    def build(self, setup: Setup) -> Step:
        """Make the two factors of every product."""
        import torch

        def multiply(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return left @ right

        run = torch.compile(multiply) if self.compile else multiply
        products = [
            (
                stage,
                torch.randn(m, k, device=setup.device, dtype=getattr(torch, dtype)),
                torch.randn(k, n, device=setup.device, dtype=getattr(torch, dtype)),
            )
            for stage, ((m, k, n), dtype) in zip(self.stages, self.pairs, strict=True)
        ]

        def step() -> torch.Tensor:
            for stage, left, right in products:
                with setup.stage(stage):
                    for _ in range(self.iterations):
                        result = run(left, right)
            return result

        return step


def _typed(values: Iterable[object]) -> str:
    """Write shapes or names as on a command line."""
    return "[" + ",".join(_typed(v) if isinstance(v, tuple) else str(v) for v in values) + "]"
