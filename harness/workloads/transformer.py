"""A decoder-only language model: its training step, or its text generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from harness.errors import Problem
from harness.workloads.base import BuiltWorkload, Count, Repeats, Setup, Step
from harness.workloads.training import TRAINING_STAGES, training_step

if TYPE_CHECKING:
    import torch
    from torch import nn

    Run = Callable[..., torch.Tensor]


class LanguageModel(BuiltWorkload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sizes of a decoder-only language model, and its training step."""

    batch: Count = 4
    """Sequences per step. Read by: the workload."""
    sequence: Count = 128
    """Tokens per sequence; generate: of the prompt. Read by: the workload."""
    layers: Repeats = 4
    """Blocks of attention and feed-forward. Read by: the workload."""
    heads: Count = 4
    """Attention heads; must divide `width`. Read by: the workload."""
    width: Count = 128
    """Elements of a token's hidden state. Read by: the workload."""
    vocabulary: Count = 1024
    """Different token ids. Read by: the workload."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The parts of a training step."""
        return TRAINING_STAGES

    @property
    def positions(self) -> int:
        """How many tokens a sequence may have."""
        return self.sequence

    def problems(self) -> Iterator[Problem]:
        """Yield a head count that does not divide the width."""
        if self.width % self.heads:
            fitting = next(n for n in range(self.heads, 0, -1) if self.width % n == 0)
            yield Problem(
                setting="workload.heads",
                given=str(self.heads),
                reason=f"the heads must divide workload.width={self.width}",
                fix=f"workload.heads={fitting}",
            )

    def training(self, setup: Setup, parallel: Callable[[nn.Module], nn.Module]) -> Step:
        """Return the training step of a new model, which `parallel` wraps."""
        import torch
        from torch.nn import functional

        model = parallel(language_model(self, setup))
        run = torch.compile(model) if self.compile else model
        # In float16 the usual 1e-8 is zero, and dividing by it fills the model with NaN.
        eps = max(1e-8, torch.finfo(setup.dtype).tiny)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, eps=eps)
        shape = (self.batch, self.sequence + 1)
        ids = torch.randint(self.vocabulary, shape, device=setup.device)
        inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].flatten()

        def loss_of() -> torch.Tensor:
            return functional.cross_entropy(run(inputs).flatten(0, 1), targets)

        return training_step(setup, loss_of, optimizer)


class Transformer(
    LanguageModel, tag="transformer", frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Train a decoder-only language model on random token ids, or generate with it."""

    mode: Literal["train", "generate"] = "train"
    """A training step, or a prefill and a greedy decode. Read by: the workload."""
    new_tokens: Repeats = 16
    """Tokens to generate per sequence; the prefill yields the first of them, the decode the
    others. Read by: the workload, in mode generate."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The parts of a training step, or of a generation."""
        return TRAINING_STAGES if self.mode == "train" else ("prefill", "decode")

    @property
    def positions(self) -> int:
        """How many tokens a sequence may have."""
        return self.sequence + self.new_tokens

    def build(self, setup: Setup) -> Step:
        """Build the model, and its token ids or its prompt and cache."""
        import torch

        if self.mode == "train":
            return self.training(setup, lambda model: model)
        model = language_model(self, setup)
        return self._generate(torch.compile(model) if self.compile else model, setup)

    def _generate(self, run: Run, setup: Setup) -> Step:
        import torch

        prompt = torch.randint(self.vocabulary, (self.batch, self.sequence), device=setup.device)
        unwritten = prompt.new_zeros(self.batch, self.new_tokens)
        ids = torch.cat([prompt, unwritten], dim=1)
        cache = empty_cache(self, setup)

        @torch.inference_mode()
        def step() -> torch.Tensor:
            with setup.stage("prefill"):
                logits = run(prompt, cache)
                ids[:, self.sequence] = logits[:, -1].argmax(-1)
            with setup.stage("decode"):
                for position in range(self.sequence, ids.shape[1] - 1):
                    logits = run(ids[:, position : position + 1], cache, position)
                    ids[:, position + 1] = logits[:, -1].argmax(-1)
            return ids

        return step


def empty_cache(settings: Transformer, setup: Setup) -> list[torch.Tensor]:
    """Allocate keys and values of every position of a generation, two tensors per layer."""
    import torch

    length = settings.sequence + settings.new_tokens
    head_dim = settings.width // settings.heads
    shape = (settings.batch, settings.heads, length, head_dim)
    return [
        torch.zeros(shape, device=setup.device, dtype=setup.dtype)
        for _ in range(2 * settings.layers)
    ]


class _Layers(NamedTuple):
    """Makers of the layers that the model is built of."""

    linear: Callable[[int, int], nn.Module]
    norm: Callable[[], nn.Module]
    embedding: Callable[[int], nn.Embedding]


def _layers(settings: LanguageModel, setup: Setup) -> _Layers:
    from torch import nn

    width = settings.width
    return _Layers(
        linear=partial(nn.Linear, device=setup.device, dtype=setup.dtype),
        norm=partial(nn.LayerNorm, width, device=setup.device, dtype=setup.dtype),
        embedding=partial(
            nn.Embedding, embedding_dim=width, device=setup.device, dtype=setup.dtype
        ),
    )


def _block(settings: LanguageModel, layers: _Layers) -> nn.Module:
    """Return a block of attention and feed-forward."""
    from torch import nn
    from torch.nn import functional

    width, (linear, norm, _) = settings.width, layers

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Sequential(norm(), linear(width, 3 * width))
            self.merge = linear(width, width)
            self.feed_forward = nn.Sequential(
                norm(), linear(width, 4 * width), nn.GELU(), linear(4 * width, width)
            )

        def forward(
            self, hidden: torch.Tensor, cache: Sequence[torch.Tensor], start: int
        ) -> torch.Tensor:
            length = hidden.shape[1]
            # To (batch, heads, length, head_dim) each.
            query, key, value = (
                part.unflatten(-1, (settings.heads, -1)).transpose(1, 2)
                for part in self.project(hidden).chunk(3, dim=-1)
            )
            if cache:
                keys, values = cache
                end = start + length
                keys[:, :, start:end] = key
                values[:, :, start:end] = value
                key, value = keys[:, :, :end], values[:, :, :end]
            # A single query is the newest position: it may see every key.
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=length > 1)
            hidden = hidden + self.merge(mixed.transpose(1, 2).flatten(2))
            result: torch.Tensor = hidden + self.feed_forward(hidden)
            return result

    return Block()


def language_model(settings: LanguageModel, setup: Setup) -> nn.Module:
    """Return a model from ids, a cache and the first id's position to logits.

    Without a cache there are logits for every id; with one, only for the last.
    """
    from torch import nn

    layers = _layers(settings, setup)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = layers.embedding(settings.vocabulary)
            self.position = layers.embedding(settings.positions)
            self.blocks = nn.ModuleList(_block(settings, layers) for _ in range(settings.layers))
            self.head = nn.Sequential(
                layers.norm(), layers.linear(settings.width, settings.vocabulary)
            )

        def forward(
            self, ids: torch.Tensor, cache: Sequence[torch.Tensor] = (), start: int = 0
        ) -> torch.Tensor:
            hidden = self.token(ids) + self.position.weight[start : start + ids.shape[1]]
            for layer, block in enumerate(self.blocks):
                hidden = block(hidden, cache[2 * layer : 2 * layer + 2], start)
            logits: torch.Tensor = self.head(hidden[:, -1:] if cache else hidden)
            return logits

    return Model()
