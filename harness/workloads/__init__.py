"""The workloads. A new workload is a file here, a file in conf/workload, a line in the table."""

from __future__ import annotations

from harness.workloads.attention import Attention
from harness.workloads.callable import Callable
from harness.workloads.conv import Conv
from harness.workloads.ddp import Ddp
from harness.workloads.loop import Loop
from harness.workloads.matmul import Matmul
from harness.workloads.mlp import Mlp
from harness.workloads.program import Program
from harness.workloads.transformer import Transformer

AnyWorkload = Attention | Callable | Conv | Ddp | Loop | Matmul | Mlp | Program | Transformer
"""The table. A class's tag is its name in YAML: ``workload.name``."""

__all__ = ["AnyWorkload"]
