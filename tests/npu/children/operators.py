"""Run each operator on the CPU and on the emulated NPU; print those that differ, as JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import torch
import torch_npu  # noqa: F401 - registers the device
from torch import Tensor, nn
from torch.nn import functional

NPU = "npu"

torch.manual_seed(0)
X, Y, W = torch.randn(2, 5, 8), torch.randn(5, 8), torch.randn(8, 6)
IDS = torch.randint(7, (2, 5))
Q, K, V = (torch.randn(2, 4, 5, 4) for _ in range(3))
ROWS = torch.tensor([3, 0, 3])
MLP = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 4))
ENCODER = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0).eval()
VISIBLE = torch.ones(5, 5, dtype=torch.bool).tril()

attend = functional.scaled_dot_product_attention
torch.backends.mha.set_fastpath_enabled(False)


def filled(tensor: Tensor, index: object, value: Tensor | float) -> Tensor:
    changed = tensor.clone()
    changed[index] = value  # type: ignore[index]
    return changed


def views(tensor: Tensor) -> Tensor:
    return tensor.transpose(1, 2)


Move = Callable[[Tensor], Tensor]
CASES: dict[str, Callable[[Move], Tensor]] = {
    "mm": lambda d: d(Y) @ d(W),
    "mm of a transposed view": lambda d: d(Y).t() @ d(Y),
    "mm with a batch": lambda d: d(X) @ d(W),
    "mm in half": lambda d: (d(Y).half() @ d(W).half()).float(),
    "mv": lambda d: d(Y) @ d(W[:, 0]),
    "bmm": lambda d: torch.bmm(d(X), d(X).transpose(1, 2)),
    "matmul of four dimensions": lambda d: d(Q) @ d(K).transpose(-1, -2),
    "addmm": lambda d: torch.addmm(d(W[0]), d(Y), d(W), beta=0.5, alpha=2),
    "baddbmm": lambda d: torch.baddbmm(d(Y[:, :5]), d(X), d(X).transpose(1, 2)),
    "linear": lambda d: functional.linear(d(X), d(W).t(), d(W[0])),
    "add": lambda d: d(X) + d(Y),
    "add, alpha": lambda d: torch.add(d(X), d(Y), alpha=3),
    "add a number": lambda d: d(X) + 1.5,
    "add to integers": lambda d: d(IDS) * 3 + 2**50,
    "subtract": lambda d: d(X) - d(Y),
    "subtract from a number": lambda d: 1 - d(X),
    "multiply": lambda d: d(X) * d(Y),
    "divide": lambda d: d(X) / (d(Y).abs() + 1),
    "in place": lambda d: d(X).clone().add_(1).mul_(2).sub_(d(Y)).div_(3),
    "pad": lambda d: functional.pad(d(X), (1, 2, 0, 3), value=0.5),
    "pad with less": lambda d: functional.pad(d(X).transpose(0, 2), (-1, 1, 2, -2)),
    "power": lambda d: d(X) ** 2,
    "rsqrt": lambda d: (d(X).abs() + 1).rsqrt(),
    "exp, log, sqrt": lambda d: (d(X).exp() + 1).log().sqrt(),
    "tanh, sigmoid, sin, cos": lambda d: d(X).tanh().sigmoid().sin().cos(),
    "relu": lambda d: functional.relu(d(X)),
    "gelu": lambda d: functional.gelu(d(X)),
    "silu": lambda d: functional.silu(d(X)),
    "softmax": lambda d: functional.softmax(d(X), -1),
    "softmax of an inner dimension": lambda d: functional.softmax(d(X), 1),
    "log_softmax": lambda d: functional.log_softmax(d(X), -1),
    "layer_norm": lambda d: functional.layer_norm(d(X), (8,), d(Y[0]), d(Y[1]), eps=1e-3),
    "layer_norm without weights": lambda d: functional.layer_norm(d(X), (5, 8)),
    "embedding": lambda d: functional.embedding(d(IDS), d(W)),
    "index_select": lambda d: torch.index_select(d(X), 1, d(ROWS)),
    "cat": lambda d: torch.cat([d(X), d(X)[:, 1:] + 1], 1),
    "sum": lambda d: d(X).sum(),
    "sum, two dimensions": lambda d: d(X).sum((0, 2)),
    "mean": lambda d: d(X).mean(1, keepdim=True),
    "argmax": lambda d: d(X).argmax(-1),
    "transpose and copy": lambda d: d(X).transpose(0, 2).contiguous(),
    "slice and copy": lambda d: d(X)[:, ::2, 1:].contiguous(),
    "expand and copy": lambda d: d(Y).expand(3, 5, 8).contiguous(),
    "write a slice": lambda d: filled(d(X), (slice(None), slice(1, 3)), d(X)[:, 2:4]),
    "write a number": lambda d: filled(d(X), (slice(None), 1), 5.0),
    "half": lambda d: d(X * 1000).half().float(),
    "half, subnormal": lambda d: d(X * 1e-6).half().float(),
    "bfloat16": lambda d: d(X).bfloat16().float(),
    "to integers": lambda d: (d(X) * 10).to(torch.int32),
    "full": lambda d: d(X).new_full((2, 3), 2.5),
    "zeros and ones": lambda d: d(X).new_zeros(3) + d(X).new_ones(3),
    "tril": lambda d: d(X).tril(-1),
    "triu": lambda d: d(X).triu(1),
    "masked_fill": lambda d: d(X).masked_fill(d(X) > 0, 7.0),
    "where": lambda d: torch.where(d(X) > 0, d(X), d(Y)),
    "compare": lambda d: d(X) <= d(Y),
    "attention": lambda d: attend(d(Q), d(K), d(V)),
    "attention, causal": lambda d: attend(d(Q), d(K), d(V), is_causal=True),
    "attention, masked": lambda d: attend(d(Q), d(K), d(V), attn_mask=d(VISIBLE)),
    "attention, more keys": lambda d: attend(d(Q)[:, :, :2], d(K), d(V)),
    "attention, of views": lambda d: attend(views(d(Q)), views(d(K)), views(d(V))),
    "MLP": lambda d: copy.deepcopy(MLP).to(d(X).device)(d(X)),
    "transformer": lambda d: copy.deepcopy(ENCODER).to(d(X).device)(d(X)),
}


def main() -> None:
    differing = {}
    with torch.no_grad():
        for name, compute in CASES.items():
            expected, found = (
                compute(lambda tensor: tensor),
                compute(lambda tensor: tensor.to(NPU)).cpu(),
            )
            same = expected.shape == found.shape and expected.dtype == found.dtype
            if not same or not torch.allclose(expected, found, rtol=1e-4, atol=1e-5):
                differing[name] = [str(expected), str(found)]
    print(json.dumps({"cases": len(CASES), "differing": differing}))


if __name__ == "__main__":
    main()
