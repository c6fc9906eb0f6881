"""What another version of torch_npu has not, told from its source."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from msgspec import structs

from harness.devices import npu_rules
from harness.devices.npu_rules import installed
from harness.settings.npu import NpuExperimental
from tests.support.composing import composed, problems_of

EXPERIMENTAL = "profiler.experimental"
OLD = """
class ProfilerLevel:
    Level0 = Constant.LEVEL0
    Level1 = Constant.LEVEL1
    Level2 = Constant.LEVEL2


class AiCMetrics:
    PipeUtilization = Constant.AicPipeUtilization
    Memory = Constant.AicMemory
    AiCoreNone = Constant.AicMetricsNone


class ExportType:
    Text = Constant.Text


class _ExperimentalConfig:
    def __init__(
        self,
        profiler_level: int = Constant.LEVEL0,
        aic_metrics: int = Constant.AicMetricsNone,
        l2_cache: bool = False,
        msprof_tx: bool = False,
        data_simplification: bool = True,
        record_op_args: bool = False,
        op_attr: bool = False,
        gc_detect_threshold: float = None,
        export_type: str = Constant.Text,
    ):
        self._profiler_level = profiler_level
"""
ALL_FIELDS = ", ".join(f"{field.name}=0" for field in structs.fields(NpuExperimental))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in front of the installed packages, and nothing remembered of those."""
    monkeypatch.syspath_prepend(tmp_path)
    installed.cache_clear()
    yield tmp_path
    installed.cache_clear()


def write(folder: Path, source: str | None, version: str | None = "2.1.0") -> None:
    package = folder / "torch_npu"
    (package / "profiler").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('there is no CANN')\n")
    if source is not None:
        (package / "profiler" / "experimental_config.py").write_text(source)
    if version is not None:
        metadata = folder / f"torch_npu-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Name: torch_npu\nVersion: {version}\n")


def test_an_older_torch_npu_is_read_without_being_imported(install: Path) -> None:
    write(install, OLD)
    package = installed()
    assert package is not None
    assert package.version == "2.1.0"
    assert package == npu_rules.Installed(
        settings=frozenset(
            [
                "profiler_level",
                "aic_metrics",
                "l2_cache",
                "msprof_tx",
                "data_simplification",
                "record_op_args",
                "op_attr",
                "gc_detect_threshold",
                "export_type",
            ]
        ),
        choices={
            "profiler_level": frozenset({"Level0", "Level1", "Level2"}),
            "aic_metrics": frozenset({"PipeUtilization", "Memory", "AiCoreNone"}),
            "export_type": frozenset({"Text"}),
        },
    )


@pytest.mark.parametrize(
    ("typed", "given", "reason", "fix"),
    [
        ("host_sys=[CPU]", "[CPU]", "no such setting", "profiler.experimental.host_sys=[]"),
        ("mstx=true", "true", "no such setting", "profiler.experimental.mstx=false"),
        ("sys_io=true", "true", "no such setting", "profiler.experimental.sys_io=false"),
        ("sys_interconnection=true", "true", "no such setting", ".sys_interconnection=false"),
        ("aic_metrics=MemoryAccess", "MemoryAccess", "no MemoryAccess", "use AiCoreNone, Memory,"),
        ("export_type=[Text,Db]", "[Text,Db]", "no Db", "use Text"),
    ],
)
def test_what_the_installed_version_has_not_is_refused_by_name(
    install: Path, typed: str, given: str, reason: str, fix: str
) -> None:
    write(install, OLD)
    (problem,) = problems_of("device=npu", f"{EXPERIMENTAL}.{typed}")
    assert problem.setting == f"{EXPERIMENTAL}.{typed.partition('=')[0]}"
    assert problem.given == given
    assert problem.reason == f"the installed torch_npu 2.1.0 has {reason}"
    assert fix in problem.fix
    assert problem.fix.endswith(", or pip install torch-npu==2.13.0")


def test_a_level_that_the_installed_version_has_not_is_refused(install: Path) -> None:
    write(install, OLD.replace("msprof_tx: bool = False", "mstx: bool = False"))
    (problem,) = problems_of("device=npu", "profiler=markers")
    assert (problem.setting, problem.given) == (f"{EXPERIMENTAL}.profiler_level", "Level_none")
    assert problem.fix == "use Level0, Level1, Level2, or pip install torch-npu==2.13.0"


def test_settings_left_alone_are_not_missed_in_an_older_version(install: Path) -> None:
    write(install, OLD)
    assert problems_of("device=npu") == []
    assert len(NpuExperimental().lowered()) == 15


def test_a_group_that_the_level_implies_is_looked_for_too(install: Path) -> None:
    write(install, OLD.replace("AiCoreNone =", "AicNone ="))
    (problem,) = problems_of("device=npu", "profiler=level0", f"{EXPERIMENTAL}.aic_metrics=null")
    assert (problem.setting, problem.given) == (f"{EXPERIMENTAL}.aic_metrics", "null")
    assert problem.reason == "the installed torch_npu 2.1.0 has no AiCoreNone"


@pytest.mark.parametrize(
    "source",
    [
        f"class _ExperimentalConfig:\n    def __init__(self, *, {ALL_FIELDS}, new=1): ...\n",
        f"class _ExperimentalConfig:\n    def __init__(self, {ALL_FIELDS}, new=1): ...\n",
        "from .elsewhere import _ExperimentalConfig\n",
        "class _ExperimentalConfig(Config):\n    level: int = 0\n",
        "this is no Python",
        None,
    ],
    ids=["keywords", "new field", "moved", "no constructor", "no Python", "no file"],
)
def test_a_version_that_is_newer_or_unreadable_is_not_in_the_way(
    install: Path, source: str | None
) -> None:
    write(install, source, version="3.0.0")
    assert problems_of("device=npu", "profiler=level2", f"{EXPERIMENTAL}.host_sys=[NUMA]") == []


def test_settings_that_can_only_be_named_are_read_too(install: Path) -> None:
    write(install, f"class _ExperimentalConfig:\n    def __init__(self, *, {ALL_FIELDS}): ...\n")
    known = installed()
    assert known is not None
    assert known.settings == {field.name for field in structs.fields(NpuExperimental)}


def test_a_version_without_a_number_is_called_unknown(
    install: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    write(install, OLD, version=None)
    (problem,) = problems_of("device=npu", f"{EXPERIMENTAL}.sys_io=true")
    assert problem.reason == "the installed torch_npu (of unknown version) has no such setting"


def test_without_torch_npu_every_setting_can_be_composed(
    install: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert install.exists()
    assert installed() is None
    assert problems_of("device=npu", "profiler=level2") == []


def test_the_installed_torch_npu_has_all_settings() -> None:
    installed.cache_clear()
    known = installed()
    assert known is not None
    assert known.version.startswith(npu_rules.KNOWN)
    assert known.settings == set(composed("device=npu").profiler.experimental.lowered())
