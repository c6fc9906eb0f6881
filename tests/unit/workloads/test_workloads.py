"""The workloads, at tiny sizes on the CPU."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch.utils._python_dispatch import TorchDispatchMode

from harness.workloads import AnyWorkload
from harness.workloads.attention import Attention
from harness.workloads.base import BuiltWorkload
from harness.workloads.callable import Callable
from harness.workloads.conv import Conv
from harness.workloads.matmul import Matmul
from harness.workloads.mlp import Mlp
from harness.workloads.transformer import Transformer, empty_cache, language_model
from tests.conftest import CXX
from tests.support.building import Stages, build, setup

ROOT = Path(__file__).parents[3]

TRANSFORMER = Transformer(
    batch=2, sequence=5, layers=2, heads=2, width=8, vocabulary=50, new_tokens=6
)
GENERATE = msgspec.structs.replace(TRANSFORMER, mode="generate")
MLP = Mlp(batch=4, in_features=3, width=8, out_features=5, layers=3)
CONV = Conv(batch=2, image_size=8, channels=(4, 6), blocks=2, classes=3)
ATTENTION = Attention(batch=2, heads=2, sequence=5, head_dim=4)
ATTENTION_BACKWARD = msgspec.structs.replace(ATTENTION, backward=True)
MATMUL = Matmul(shapes=((2, 3, 4), (5, 6, 7)), iterations=2)

TRAINING = [
    pytest.param(TRANSFORMER, id="transformer-train"),
    pytest.param(MLP, id="mlp"),
    pytest.param(CONV, id="conv"),
]
TINY = [
    *TRAINING,
    pytest.param(GENERATE, id="transformer-generate"),
    pytest.param(ATTENTION, id="attention"),
    pytest.param(ATTENTION_BACKWARD, id="attention-backward"),
    pytest.param(MATMUL, id="matmul"),
]


def tensors(result: object) -> list[torch.Tensor]:
    results = result if isinstance(result, tuple) else (result,)
    assert all(isinstance(tensor, torch.Tensor) for tensor in results)
    return [tensor.clone() for tensor in results]


def run(workload: BuiltWorkload, *, seed: int = 7) -> list[torch.Tensor]:
    step = build(workload, seed=seed)
    return tensors(step()) + tensors(step())


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's class.
    """Records the operators that run, outermost first, with their tensors."""

    def __init__(self, stage: Stages | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch's class.
        self.ran: list[tuple[str, list[torch.Tensor]]] = []
        self.stage = stage
        self.unstaged: list[str] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = func.overloadpacket.__name__
        self.ran.append((name, [arg for arg in args if isinstance(arg, torch.Tensor)]))
        if self.stage is not None and not self.stage.open:
            self.unstaged.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("workload", TINY)
def test_a_step_enters_its_stages_in_order(workload: BuiltWorkload) -> None:
    stage = Stages()
    step = build(workload, stage)
    assert stage.entered == []
    step()
    step()
    assert tuple(stage.entered) == workload.stages * 2


@pytest.mark.parametrize("workload", TINY)
def test_a_step_makes_no_inputs_and_works_inside_its_stages(workload: BuiltWorkload) -> None:
    stage = Stages()
    step = build(workload, stage)
    step()
    with Operators(stage) as operators:
        step()
    names = {name for name, _ in operators.ran}
    assert names
    assert not {name for name in names if re.match(r"(rand|normal|uniform)", name)}
    # Only the detached results of a step may be made after its last stage.
    assert set(operators.unstaged) <= {"detach"}


@pytest.mark.parametrize("workload", TINY)
def test_the_seed_decides_the_results(workload: BuiltWorkload) -> None:
    first, again, other = run(workload), run(workload), run(workload, seed=8)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
@pytest.mark.parametrize("workload", TINY)
def test_every_element_type_runs(workload: BuiltWorkload, dtype: str) -> None:
    results = run(msgspec.structs.replace(workload, dtype=dtype))
    for result in results:
        assert result.dtype == (torch.int64 if workload is GENERATE else getattr(torch, dtype))
        assert torch.isfinite(result).all()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("workload", TRAINING)
def test_training_reduces_the_loss(workload: BuiltWorkload, dtype: str) -> None:
    step = build(msgspec.structs.replace(workload, dtype=dtype))
    losses = [float(tensors(step())[0]) for _ in range(30)]
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("workload", TINY)
def test_compile_captures_the_whole_model(workload: BuiltWorkload, compiled: list[object]) -> None:
    expected = run(workload)
    assert compiled == []
    results = run(msgspec.structs.replace(workload, compile=True))
    assert len(compiled) == 1
    torch.testing.assert_close(results, expected)


@pytest.mark.skipif(CXX is None, reason="torch.compile builds C++ on a CPU")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
def test_compiled_training_equals_eager_training() -> None:
    torch.testing.assert_close(run(msgspec.structs.replace(MLP, compile=True)), run(MLP))


def test_a_loss_carries_no_graph() -> None:
    (loss,) = tensors(build(MLP)())
    assert loss.shape == ()
    assert not loss.requires_grad


def test_decoding_with_the_cache_equals_recomputing_everything() -> None:
    workload = msgspec.structs.replace(GENERATE, dtype="float64")
    step = build(workload)
    (first,) = tensors(step())
    (second,) = tensors(step())
    assert torch.equal(first, second)
    assert first.shape == (2, 5 + 6)

    torch.manual_seed(7)
    model = language_model(workload, setup(workload)).eval()
    ids = first[:, :5]
    with torch.inference_mode():
        for _ in range(6):
            ids = torch.cat([ids, model(ids)[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(first, ids)
    assert len(set(first[:, 5:].flatten().tolist())) > 2


def test_logits_with_the_cache_are_those_without() -> None:
    workload = msgspec.structs.replace(GENERATE, dtype="float64")
    torch.manual_seed(7)
    model = language_model(workload, setup(workload)).eval()
    ids = torch.randint(50, (2, 11))
    caches = [torch.full_like(empty, torch.nan) for empty in empty_cache(workload, setup(workload))]
    per_layer = [[caches[2 * n], caches[2 * n + 1]] for n in range(workload.layers)]
    with torch.inference_mode():
        expected = model(ids)
        logits = [model(ids[:, :5], caches)]
        for at in range(5, 11):
            # What a position may not see yet is NaN: reading it would show.
            assert all(half[:, :, at:].isnan().all() for pair in per_layer for half in pair)
            logits.append(model(ids[:, at : at + 1], caches, at))
    torch.testing.assert_close(torch.cat(logits, dim=1), expected[:, 4:])


def test_the_language_model_learns_the_next_token() -> None:
    step = build(TRANSFORMER)
    with Operators() as operators:
        step()
    ids = next(args[1] for name, args in operators.ran if name == "embedding")
    targets = next(args[1] for name, args in operators.ran if name == "nll_loss_forward")
    assert ids.shape == (2, 5)
    assert len(set(ids.flatten().tolist())) > 2
    assert torch.equal(targets.view(2, 5)[:, :-1], ids[:, 1:])


def test_the_language_model_sees_no_later_token() -> None:
    torch.manual_seed(7)
    model = language_model(TRANSFORMER, setup(TRANSFORMER))
    ids = torch.randint(50, (1, 5))
    changed = ids.clone()
    changed[0, 3] = (changed[0, 3] + 1) % 50
    with torch.inference_mode():
        same = (model(ids) == model(changed)).all(-1)[0].tolist()
    assert same == [True, True, True, False, False]


def test_one_new_token_comes_from_the_prefill_alone() -> None:
    workload = msgspec.structs.replace(GENERATE, new_tokens=1)
    (ids,) = tensors(build(workload)())
    (longer,) = tensors(build(GENERATE)())
    assert ids.shape == (2, 6)
    assert longer.shape == (2, 11)


def test_matmul_multiplies_every_shape_in_every_element_type() -> None:
    workload = msgspec.structs.replace(MATMUL, dtypes=("float32", "float64"))
    step = build(workload)
    with Operators() as operators:
        step()
    ran = [
        (*left.shape, right.shape[1], left.dtype, right.shape[0] == left.shape[1])
        for name, (left, right) in operators.ran
        if name == "mm"
    ]
    once = [
        (2, 3, 4, torch.float32, True),
        (2, 3, 4, torch.float64, True),
        (5, 6, 7, torch.float32, True),
        (5, 6, 7, torch.float64, True),
    ]
    assert ran == [pair for pair in once for _ in range(2)]
    assert {name for name, _ in operators.ran} == {"mm"}


@pytest.mark.parametrize("dtypes", [None, ()])
def test_matmul_takes_the_shared_element_type_when_none_is_listed(dtypes: tuple[()] | None) -> None:
    workload = Matmul(shapes=((2, 3, 4),), dtypes=dtypes, dtype="float64")
    assert workload.stages == ("matmul_2x3x4_float64",)
    assert tensors(build(workload)())[0].dtype == torch.float64


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_attention_equals_its_definition(causal: bool, backward: bool) -> None:
    workload = msgspec.structs.replace(ATTENTION, dtype="float64", causal=causal, backward=backward)
    results = tensors(build(workload)())

    torch.manual_seed(7)
    *inputs, gradient = (torch.randn(2, 2, 5, 4, dtype=torch.float64) for _ in range(4))
    query, key, value = (tensor.requires_grad_() for tensor in inputs)
    weights = query @ key.mT / 2
    if causal:
        weights = weights.masked_fill(~torch.ones(5, 5, dtype=torch.bool).tril(), -torch.inf)
    output = weights.softmax(-1) @ value
    gradients = torch.autograd.grad(output, (query, key, value), gradient) if backward else ()
    assert not any(result.requires_grad for result in results)
    torch.testing.assert_close(results, [output.detach(), *gradients])


def test_sizes_are_those_of_the_settings() -> None:
    step = build(CONV)
    with Operators() as operators:
        step()
    shapes = {tuple(args[0].shape) for name, args in operators.ran if "convolution" in name}
    assert {(2, 3, 8, 8), (2, 4, 8, 8), (2, 6, 4, 4)} <= shapes
    forward = [name for name, _ in operators.ran if name == "convolution"]
    assert len(forward) == 1 + 2 * 4 + 1

    step = build(MLP)
    with Operators() as operators:
        step()
    layers = [args[1:] for name, args in operators.ran if name == "addmm"]
    assert [(*a.shape, b.shape[1]) for a, b in layers] == [(4, 3, 8), (4, 8, 8), (4, 8, 5)]


@pytest.mark.parametrize("workload", [pytest.param(MLP, id="mlp"), pytest.param(CONV, id="conv")])
def test_one_layer_and_one_group_are_enough(workload: BuiltWorkload) -> None:
    smallest = (
        msgspec.structs.replace(workload, layers=1)
        if isinstance(workload, Mlp)
        else msgspec.structs.replace(workload, channels=(1,), blocks=1, batch=1, image_size=2)
    )
    assert not list(smallest.problems())
    assert len(run(smallest)) == 2


@pytest.mark.parametrize(
    ("workload", "setting", "fix"),
    [
        (Transformer(width=128, heads=6), "workload.heads", "workload.heads=4"),
        (Transformer(width=7, heads=6), "workload.heads", "workload.heads=1"),
        (Transformer(width=4, heads=6), "workload.heads", "workload.heads=4"),
        (Conv(batch=1, image_size=4), "workload.image_size", "workload.image_size=5"),
        (
            Matmul(shapes=((1, 2, 3), (4, 5, 6), (1, 2, 3))),
            "workload.shapes",
            "workload.shapes=[[1,2,3],[4,5,6]]",
        ),
        (
            Matmul(dtypes=("float64", "float64")),
            "workload.dtypes",
            "workload.dtypes=[float64]",
        ),
        (
            Callable(target="a:b", kwargs={"seed": 3, "size": 4}),
            "workload.kwargs.seed",
            "~workload.kwargs.seed",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_problems(
    workload: BuiltWorkload, setting: str, fix: str
) -> None:
    (problem,) = workload.problems()
    assert (problem.setting, problem.fix) == (setting, fix)


@pytest.mark.parametrize("workload", TINY)
def test_settings_that_work_are_no_problems(workload: BuiltWorkload) -> None:
    assert not list(workload.problems())


def test_one_image_needs_more_than_one_pixel_in_the_end() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        run(Conv(batch=1, image_size=4))
    run(Conv(batch=1, image_size=5))


@pytest.mark.parametrize(
    "given",
    [
        {"name": "mlp", "layers": 0},
        {"name": "mlp", "depth": 3},
        {"name": "conv", "channels": []},
        {"name": "matmul", "shapes": []},
        {"name": "matmul", "shapes": [[1, 2]]},
        {"name": "matmul", "dtypes": ["int8"]},
        {"name": "transformer", "mode": "infer"},
        {"name": "callable"},
        {"name": "lstm"},
    ],
)
def test_settings_that_are_wrong_by_themselves_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, AnyWorkload)


@pytest.mark.parametrize("workload", [Attention, Conv, Matmul, Mlp, Transformer, Callable])
def test_the_yaml_file_states_every_setting_with_its_default(workload: type[BuiltWorkload]) -> None:
    required: dict[str, Any] = {"target": "???"} if workload is Callable else {}
    defaults = msgspec.json.decode(msgspec.json.encode(workload(**required)))
    name = defaults["name"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        settings = OmegaConf.to_container(compose(f"workload/{name}").workload)
    assert settings == defaults

    path = ROOT / "conf" / "workload" / f"{name}.yaml"
    lines = path.read_text().splitlines()
    assert lines[0].startswith(f"# python -m harness workload={name} ")
    keys: list[Any] = list(OmegaConf.load(path))
    assert keys[:2] == ["defaults", "name"]
    fields = [
        field
        for field in workload.__struct_fields__
        if field not in BuiltWorkload.__struct_fields__
    ]
    assert keys[2:] == fields


def test_the_workloads_import_no_torch() -> None:
    code = "import sys, harness.workloads; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
