"""What the words of a command line mean, and what was meant by those that mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser

from harness.cli.arguments import Command, parse
from harness.cli.commands import RUN, SUBCOMMANDS
from harness.cli.flags import FLAGS
from harness.errors import Problem, RefusedError


def parsed(line: str) -> tuple[Command, str]:
    return parse(line.split(), RUN, SUBCOMMANDS)


def refused(line: str) -> tuple[Problem, ...]:
    with pytest.raises(RefusedError) as caught:
        parsed(line)
    return caught.value.problems


@pytest.mark.parametrize(
    ("line", "name", "flags", "overrides", "paths"),
    [
        ("", "", {}, (), ()),
        ("seed=1 -m a/b=c", "", {"--multirun": ""}, ("seed=1", "a/b=c"), ()),
        ("-c job +x=1 ~y", "", {"--cfg": "job"}, ("+x=1", "~y"), ()),
        ("--cfg=job -p=profiler", "", {"--cfg": "job", "--package": "profiler"}, (), ()),
        ("-o a=b seed=1", "", {"--out": "a=b"}, ("seed=1",), ()),
        ("--info seed=1", "", {"--info": "all"}, ("seed=1",), ()),
        ("--info defaults seed=1", "", {"--info": "defaults"}, ("seed=1",), ()),
        ("seed=1 check --multirun", "check", {"--multirun": ""}, ("seed=1",), ()),
        ("device=npu doctor --json", "doctor", {"--json": ""}, ("device=npu",), ()),
        ("read a/b=c --out d", "read", {"--out": "d"}, (), ("a/b=c",)),
        (
            "merge a merge.match=strict b -o c",
            "merge",
            {"--out": "c"},
            ("merge.match=strict",),
            "ab",
        ),
        ("help read", "help", {}, (), ("read",)),
        ("read -h", "read", {"--help": ""}, (), ()),
    ],
)
def test_words_are_sorted_wherever_they_stand(
    line: str, name: str, flags: dict[str, str], overrides: tuple[str, ...], paths: tuple[str, ...]
) -> None:
    command, subcommand = parsed(line)
    assert subcommand == name
    assert command.flags == flags
    assert command.overrides == overrides
    assert command.paths == tuple(paths)


def test_a_file_that_is_there_is_a_path_though_it_looks_like_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seed=1").mkdir()
    assert parsed("read seed=1")[0].paths == ("seed=1",)
    assert parsed("read seed=2")[0].overrides == ("seed=2",)
    assert parsed(f"read {'x' * 300}=1")[0].paths == ()


def test_flags_that_hydra_has_too_are_those_of_hydra() -> None:
    command, _ = parsed("-m --out x --config-dir=y seed=1")
    assert (command.multirun, command.out, command.config_dir) == (True, "x", "y")
    hydras = {
        name: action.nargs
        for action in get_args_parser()._actions
        for name in action.option_strings
    }
    shared = [flag for flag in FLAGS if flag.name in hydras and flag.name != "--version"]
    assert len(shared) == 10
    for flag in shared:
        assert hydras[flag.name] == (0 if not flag.value else "?" if flag.bare else None)
        assert not flag.short or flag.short in hydras


@pytest.mark.parametrize(
    ("line", "setting", "fix"),
    [
        ("--profiler=level1", "--profiler", "write profiler=level1"),
        ("--profiler level1", "--profiler", "write profiler=level1"),
        ("-profiler=level1", "-profiler", "write profiler=level1"),
        ("--workload.batch 64 -m", "--workload.batch", "write workload.batch=64"),
        ("--batch 64", "--batch", "write workload.batch=64"),
        ("--record-shapes seed=1", "--record-shapes", "write profiler.record_shapes=…"),
        ("--porfiler=level1", "--porfiler", "write profiler=level1"),
        ("--sweep aic_metrics", "--sweep", "write +sweep=aic_metrics"),
        ("--experiment generate", "--experiment", "write experiment=generate"),
        ("--multrun seed=1", "--multrun", "write --multirun"),
        ("--output x", "--output", "write --out"),
        ("doctor --jason", "--jason", "write --json"),
        ("doctor --nothing-like-it", "--nothing-like-it", "use one of --json, --help, --version"),
        ("rehears", "rehears", "python -m harness rehearse"),
        ("chekc seed=1", "chekc", "python -m harness check"),
        ("level1", "level1", "write profiler=level1"),
        ("check levle1", "levle1", "write profiler=level1"),
        ("mpl", "mpl", "write workload=mlp"),
        ("gpu", "gpu", "write device=cuda"),
        ("default", "default", "write analysis=default or profiler=default"),
        ("aic_metrics", "aic_metrics", "write +sweep=aic_metrics"),
        ("rehearsal", "rehearsal", "write rehearsal=NAME, with one of healthy, older_cann"),
        (
            "nosuchthing",
            "nosuchthing",
            "use one of attach, check, compare, doctor, ",
        ),
        ("check doctor", "doctor", "keep check or doctor"),
        ("-cp x", "--config-path", "--config-dir DIR adds your folder"),
        ("--experimental-rerun x", "--experimental-rerun", "--config-dir DIR adds your folder"),
        ("--cfg", "--cfg", "--cfg WHAT"),
        ("--cfg jobs", "--cfg", "--cfg job"),
        ("--out=", "--out", "--out PATH"),
        ("--json=1 doctor", "--json", "--json"),
        ("-m --cfg job", "--multirun --cfg", "keep --multirun or --cfg"),
        ("-p profiler", "--package", "add --cfg job, or leave --package out"),
        ("--resolve", "--resolve", "add --cfg job, or leave --resolve out"),
        ("--json", "--json", "leave it out; python -m harness help shows"),
        ("check --cfg job", "--cfg", "leave it out; python -m harness help check shows"),
        ("doctor -o x", "--out", "leave it out; python -m harness help doctor shows"),
    ],
)
def test_a_word_without_a_meaning_is_answered_with_what_was_meant(
    line: str, setting: str, fix: str
) -> None:
    (problem,) = refused(line)
    assert problem.setting == setting
    assert problem.fix.startswith(fix)


def test_every_word_without_a_meaning_is_answered_at_once() -> None:
    problems = refused("level1 --shapes 4 mpl check --json -m --cfg=job")
    assert [problem.setting for problem in problems] == [
        "--multirun --cfg",
        "--json",
        "--cfg",
        "--shapes",
        "level1",
        "mpl",
    ]


def test_a_users_own_profile_is_found_by_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "workload"
    folder.mkdir()
    (folder / "resnet.yaml").touch()
    (problem,) = refused(f"renset -cd {tmp_path}")
    assert problem.fix == "write workload=resnet"
    (problem,) = refused("mpl -cd nosuch")
    assert problem.fix == "write workload=mlp"


@pytest.mark.parametrize("page", ["", *SUBCOMMANDS])
def test_a_page_of_help_shows_usage_examples_and_every_flag_in_80_columns(
    page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, _ = parsed("help")
    show: Callable[[Command], object] = SUBCOMMANDS["help"].run
    show(Command(command.flags, (), (page,) if page else ()))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    subcommand = SUBCOMMANDS.get(page, RUN)
    for part in (*subcommand.flags, *subcommand.examples, *subcommand.usage, "--help"):
        assert part in text


@pytest.mark.parametrize("name", ["", *SUBCOMMANDS])
def test_the_examples_of_help_are_command_lines(name: str) -> None:
    for example in SUBCOMMANDS.get(name, RUN).examples:
        command, subcommand = parsed(example)
        assert name in ("", subcommand)
        assert "--help" not in command.flags
