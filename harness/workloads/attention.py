"""Scaled dot-product attention alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.workloads.base import BuiltWorkload, Count, Setup, Step

if TYPE_CHECKING:
    import torch


class Attention(
    BuiltWorkload, tag="attention", frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Run scaled dot-product attention on random queries, keys and values."""

    batch: Count = 4
    """Sequences per step. Read by: the workload."""
    heads: Count = 8
    """Attention heads. Read by: the workload."""
    sequence: Count = 512
    """Tokens per sequence, as queries and as keys. Read by: the workload."""
    head_dim: Count = 64
    """Elements of one head's query. Read by: the workload."""
    causal: bool = True
    """Let a token see only itself and the tokens before it. Read by: the workload."""
    backward: bool = False
    """Also compute the gradients of queries, keys and values. Read by: the workload."""

    @property
    def stages(self) -> tuple[str, ...]:
        """Forward, and backward if `backward` is set."""
        return ("forward", "backward") if self.backward else ("forward",)

    def build(self, setup: Setup) -> Step:
        """Make queries, keys, values, and the gradient that enters the backward pass."""
        import torch
        from torch.nn import functional

        def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            return functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)

        shape = (self.batch, self.heads, self.sequence, self.head_dim)
        query, key, value, gradient = (
            torch.randn(shape, device=setup.device, dtype=setup.dtype) for _ in range(4)
        )
        inputs = [tensor.requires_grad_(self.backward) for tensor in (query, key, value)]
        run = torch.compile(attend) if self.compile else attend

        def step() -> tuple[torch.Tensor, ...]:
            with setup.stage("forward"):
                output = run(*inputs)
            if not self.backward:
                return (output,)
            with setup.stage("backward"):
                gradients = torch.autograd.grad(output, inputs, gradient)
            return (output.detach(), *gradients)

        return step
