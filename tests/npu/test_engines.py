"""What is exported for torch_npu reaches CANN as the harness's own profile does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.capture import external
from harness.engines import TARGETS
from harness.engines.exporting import Export, asked, export, same
from tests.npu.conftest import OnNpu
from tests.support.composing import composed

STEP = "        ...  # one step of your program\n"
WORK = "        matrix @ matrix; torch.npu.synchronize()\n"
BEGIN = 'matrix = torch.randn(4, 4).to("npu:0")\n'


def exported(name: str, form_name: str, *settings: str) -> Export:
    target = TARGETS[name]
    release = target.releases[0]
    form = next(form for form in release.forms if (form.name, form.device) == (form_name, "npu"))
    return export(composed("device=npu", *settings), target, release, form, "captures")


def calls(file: Path) -> list[dict[str, Any]]:
    """The calls of a file; of each, what the settings decide."""
    kept = ("call", "data_type_config", "aicore_metrics", "type", "value", "devices")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        if "value" in line:  # torch_npu hands the host's systems over in no certain order.
            line["value"] = ",".join(sorted(line["value"].split(",")))
    return [{name: line[name] for name in kept if name in line} for line in lines]


@pytest.mark.parametrize(
    "settings",
    [
        ("profiler=sglang",),
        ("profiler=level1", "profiler.experimental.aic_metrics=L2Cache"),
        ("profiler=level2", "profiler.experimental.sys_io=true", "profiler.schedule.repeat=2"),
        ("profiler=memory", "profiler.schedule.wait=1", "profiler.schedule.active=2"),
        ("profiler=markers",),
        ("profiler=level0", "profiler.activities=[host]"),
        ("profiler=level1", "profiler.experimental.host_sys=[CPU,MEM]"),
    ],
    ids=lambda settings: settings[-1],
)
def test_a_snippet_makes_the_calls_that_the_harness_makes(
    on_npu: OnNpu, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    (tmp_path / "cases.json").write_text(json.dumps([settings]))
    on_npu("conformance.py", str(tmp_path / "cases.json"), str(tmp_path))
    text = exported("python", "snippet", *settings).text
    assert STEP in text
    before, begin, after = text.replace(STEP, WORK).partition("\nwith ")
    record = tmp_path / "snippet.jsonl"
    on_npu(f"{before}\n{BEGIN}{begin}{after}", HARNESS_EMULATOR_RECORD=str(record))
    ours = tmp_path / "0.jsonl"
    assert ours.exists() == record.exists()
    if ours.exists():
        assert calls(record) == calls(ours)


def test_a_running_loop_takes_the_file_of_dynamic_profile(on_npu: OnNpu, tmp_path: Path) -> None:
    settings = (
        "profiler=level2",
        "profiler.with_modules=true",
        "profiler.schedule.active=2",
        "profiler.experimental.aic_metrics=Memory",
    )
    done = exported("dynamic_profile", "file", *settings)
    assert not done.lost
    (tmp_path / "exported.json").write_text(done.text)
    watched = tmp_path / "watched"
    watched.mkdir(mode=0o750)
    printed = on_npu("dynamic.py", str(tmp_path / "exported.json"), PROF_CONFIG_PATH=str(watched))
    captures = list((tmp_path / "captures").glob("*_ascend_pt"))
    assert len(captures) == 1, printed
    capture = external.read(captures[0])
    wanted = asked(composed("device=npu", *settings))
    told = {name: value for name, value in capture.info.settings.items() if name in wanted}
    assert {"profiler.record_shapes", "profiler.experimental.aic_metrics"} <= set(told)
    differing = {
        name: value for name, value in told.items() if not same(_plain(value), wanted[name])
    }
    assert differing == {}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


PARSED = """
import json, sys
import torch, torch_npu
from torch_npu.profiler._dynamic_profiler._dynamic_profiler_config_context import ConfigContext
data = json.loads(open(sys.argv[1]).read()) | {"is_valid": True}
read = ConfigContext(data)
config = read.experimental_config
print(json.dumps({
    "activities": sorted(str(each) for each in read.activities()),
    "switches": [read.record_shapes, read.profile_memory, read.with_stack, read.with_flops,
                 read.with_modules],
    "steps": [read.warmup(), read.active(), read.start()],
    "level": config._profiler_level, "group": config._aic_metrics, "l2": config._l2_cache,
    "mstx": config._mstx, "host_sys": sorted(config._host_sys),
    "export": sorted(config._export_type),
    "gc": config._gc_detect_threshold, "simple": config._data_simplification,
}))
"""


def test_torch_npu_s_own_parser_reads_every_setting_of_the_file(
    on_npu: OnNpu, tmp_path: Path
) -> None:
    done = exported(
        "dynamic_profile",
        "file",
        "profiler=level2",
        "profiler.experimental.mstx=true",
        "profiler.experimental.host_sys=[CPU,MEM]",
        "profiler.experimental.export_type=[Text,Db]",
        "profiler.experimental.gc_detect_threshold=1.5",
        "profiler.experimental.data_simplification=false",
    )
    (tmp_path / "file.json").write_text(done.text)
    printed = on_npu(PARSED, str(tmp_path / "file.json"))
    assert json.loads(printed.splitlines()[-1]) == {
        "activities": ["ProfilerActivity.CPU", "ProfilerActivity.NPU"],
        "switches": [True, True, True, False, False],
        "steps": [1, 3, True],
        "level": "Level2",
        "group": "ACL_AICORE_PIPE_UTILIZATION",
        "l2": True,
        "mstx": True,
        "host_sys": ["cpu", "mem"],
        "export": ["db", "text"],
        "gc": 1.5,
        "simple": False,
    }
