"""The same sections on a terminal and as Markdown."""

from __future__ import annotations

import re
from io import StringIO
from typing import Final, get_args

import pytest

from harness.report.console import Console
from harness.report.markdown import markdown
from harness.report.section import Column, Command, Section, Unit, Value
from harness.report.terminal import show

VALUES: Final[dict[Unit, tuple[Value, str]]] = {
    "text": ("a|b [c]", "a|b [c]"),
    "name": ("aten::mm", "aten::mm"),
    "shapes": ([[2, 3], [3, 4]], "[2,3] [3,4]"),
    "status": ("delivered", "✓"),
    "identifier": (1009, "1009"),
    "count": (2472, "2,472"),
    "number": (0.25, "0.25"),
    "ns": (1_500_000, "1.5 ms"),
    "bytes": (1536, "1.5 KiB"),
    "flops": (1_610_000_000, "1.61 G"),
    "share": (0.422, "42.2%"),
    "ratio": (3.314, "3.31 ×"),
}
"""A value of each unit, and its text."""
ALL = Section(
    title="All [units]",
    columns=tuple(Column(f"[{unit}]", unit) for unit in VALUES),
    rows=(tuple(value for value, _ in VALUES.values()), (None,) * len(VALUES)),
    notes=("a [note]",),
)
LONG: Final = "python -m harness device=npu profiler=level1 workload.target=" + "module" * 20


def shown(*sections: Section, width: int) -> list[str]:
    out = StringIO()
    show(sections, Console(file=out, width=width))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("terminal", [False, True])
def test_no_line_ends_in_blanks(terminal: bool) -> None:
    out = StringIO()
    texts = Section(
        title="Texts",
        columns=(Column("first"), Column("last")),
        rows=(("a", "a long text that is wrapped, in several lines"), ("b", "b")),
        notes=("a note that is longer than the line, and so it is wrapped, too",),
    )
    show([texts, ALL], Console(file=out, width=40, force_terminal=terminal, no_color=True))
    lines = re.sub(r"\x1b\[[\d;]*m", "", out.getvalue()).splitlines()
    assert "  a note that is longer than the line," in lines
    assert [line for line in lines if line != line.rstrip()] == []
    assert max(map(len, lines)) <= 40


def test_one_of_each_unit_on_a_terminal() -> None:
    assert set(VALUES) == set(get_args(Unit))
    _, title, header, _, row, empty, note = shown(ALL, width=200)
    assert title == "All [units]"
    assert header.split() == [f"[{unit}]" for unit in VALUES]
    assert row.split() == " ".join(text for _, text in VALUES.values()).split()
    assert empty.split() == ["–"] * len(VALUES)
    assert note == "  a [note]"
    # Numbers end where their headers do, texts begin there.
    for column, (value, text) in zip(ALL.columns, VALUES.values(), strict=True):
        begin = header.index(column.name)
        if isinstance(value, int | float):
            assert row[: begin + len(column.name)].endswith(text), column
        else:
            assert row[begin:].startswith(text), column


def test_one_of_each_unit_as_markdown() -> None:
    title, _, header, rule, row, empty, _, note = markdown([ALL]).splitlines()
    assert title == "# All [units]"
    assert header == f"| {' | '.join(f'[{unit}]' for unit in VALUES)} |"
    assert rule.count("---:") == 8
    texts = " | ".join(text for _, text in VALUES.values())
    assert row == f"| {texts} |".replace("a|b", "a\\|b")
    assert empty == "|" + " – |" * len(VALUES)
    assert note == "- a [note]"


def test_a_cell_of_two_lines() -> None:
    section = Section(
        title="Found", columns=(Column("found"),), rows=(("no CANN\nto do: install",),)
    )
    assert "| no CANN<br>to do: install |" in markdown([section])
    assert shown(section, width=80)[-2:] == ["no CANN", "to do: install"]


@pytest.mark.parametrize("line", [LONG, "python -m harness 'a`b'"])
def test_a_command_is_in_one_piece_and_is_code(line: str) -> None:
    section = Section(title="Files", notes=("prose", Command(purpose="next, look", line=line)))
    assert shown(section, width=80)[-3:] == ["  prose", "  next, look:", f"  {line}"]
    code = f"`` {line} ``" if "`" in line else f"`{line}`"
    assert markdown([section]) == f"# Files\n\n- prose\n- next, look: {code}\n"


def test_sections_that_have_no_table_or_no_notes() -> None:
    plain = Section(title="Two", columns=(Column("name"),), rows=(("x",),))
    assert markdown([Section(title="One"), plain]) == (
        "# One\n\n## Two\n\n| name |\n| --- |\n| x |\n"
    )


NAMES = Section(
    title="Operators",
    columns=(Column("operator", "name"), Column("input shapes", "shapes"), Column("self", "ns")),
    rows=(
        ("autograd::engine::evaluate_function: AddmmBackward0", [[32, 3, 224, 224]] * 2, 1_000),
        ("autograd::engine::evaluate_function: MulBackward0", [[4]], 2_000),
    ),
)


def test_names_and_shapes_are_shortened_to_the_width_of_the_terminal() -> None:
    wide, narrow = shown(NAMES, width=120), shown(NAMES, width=60)
    assert "evaluate_function: AddmmBackward0   [32,3,224,224] [32,3,224,224]   1 µs" in wide[4]
    assert narrow[4:] == [
        "autograd::eng…dmmBackward0  [32,3,224,224] [32,3,224,…  1 µs",
        "autograd::eng…MulBackward0  [4]                         2 µs",
    ]


def test_shares_go_below_their_values_where_they_do_not_fit_beside_them() -> None:
    section = Section(
        title="Steps",
        columns=(Column("span", "ns"), Column("idle", "ns", part_of="span")),
        rows=((1_000_000, 421_000),),
    )
    assert shown(section, width=21)[-1:] == ["1 ms   421 µs (42%)"]
    assert shown(section, width=18)[-1:] == ["1 ms  421 µs (42%)"]
    assert shown(section, width=17)[-2:] == ["1 ms  421 µs", "       (42%)"]


def test_headers_are_wrapped_before_anything_is_cut() -> None:
    columns = (Column("unprofiled step", "ns"), Column("device per step", "ns"))
    section = Section(title="Sweep", columns=columns, rows=((41_400_000, 86_100),))
    assert shown(section, width=33)[2] == "unprofiled step   device per step"
    assert shown(section, width=32)[2:4] == ["unprofiled     device", "      step   per step"]


def test_shapes_go_below_their_names_where_both_do_not_fit() -> None:
    assert shown(NAMES, width=30)[2:] == [
        "operator",
        "input shapes              self",
        "──────────────────────────────",
        "autograd::en…mmBackward0  1 µs",
        "[32,3,224,224] [32,3,22…",
        "autograd::en…ulBackward0  2 µs",
        "[4]",
    ]


def test_a_long_table_is_cut_on_a_terminal_and_whole_in_markdown() -> None:
    rows = tuple((number,) for number in range(1_250))
    notes = tuple(f"note {number}" for number in range(60))
    section = Section(title="Sweep", columns=(Column("job", "identifier"),), rows=rows, notes=notes)
    lines = shown(section, width=80)
    assert lines[3 + 100 : 3 + 102] == [" 99", "  1,150 more rows in the summary file"]
    assert lines[-5:] == [
        "  note 36",
        "  20 more notes in the summary file",
        "  note 57",
        "  note 58",
        "  note 59",
    ]
    assert "| 1249 |" in markdown([section])


def test_texts_are_wrapped_at_their_spaces_and_no_word_is_broken() -> None:
    columns = (Column("aic_metrics"), Column("exit", "identifier"), Column("result"))
    section = Section(title="Sweep", columns=columns, rows=(("MemoryAccess", 3, "not delivered"),))
    assert shown(section, width=29)[-2:] == [
        "MemoryAccess     3  not",
        "                    delivered",
    ]
