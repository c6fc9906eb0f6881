"""README and docs are true: links lead somewhere, commands compose, every name exists.

README.zh.md has the same headings, commands and links as README.md.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import tables
from harness.capture.run_record import Delivery, RunRecord
from harness.cli.main import main
from tests.conftest import ROOT

DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = (README, *sorted(DOCS.rglob("*.md")))
OTHERS = {"ARCHITECTURE.md", "modules.md", "settings.md"}
"""For those who change the code, or generated from it."""
FOR_USERS = [page for page in PAGES if page.name not in OTHERS]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
HARNESS = re.compile(r"(?:\.venv/bin/)?python -m harness(?![\w.])")
SETTING = re.compile(
    r"(?<![\w./-])(?:profiler|workload|device|execution|rehearsal|delivery|sweep|merge|compare|analysis)"
    r"\.[a-z]\w*(?:\.\w+)*"
)
OPEN_GROUPS = ("workload.kwargs", "device.environment")
"""Groups below which a user chooses the names."""
ENDINGS = (".json", ".jsonl", ".parquet", ".md", ".db", ".done")
"""Of files whose names look like settings: sweep.json."""
IN_THE_CHECKOUT = re.compile(r"(?:conf|docs|benchmarks|tests)/[\w./-]*")
TITLED_FILE = re.compile(r"# ([\w./-]+\.(?:py|yaml))\n")
"""The first line of a file that a page has its reader write."""
REFUSED = "refused, nothing was run"
OTHER_WORDS = {
    "clean step": "unprofiled step",
    "from elsewhere": "imported",
    "demanded": "expected",
    "what was asked": "what was requested",
    "parts/": "cycles/",
}
"""Words that the pages do not use, and the glossary's for the same thing."""


class Command(NamedTuple):
    """A command line of a page."""

    page: str
    words: tuple[str, ...]
    """Without ``python -m harness``."""
    refusal: str = ""
    """What is printed, if the page shows that it is refused."""


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """The text without code blocks."""
    return FENCE.sub("", text_of(page))


def blocks(page: Path) -> Iterator[tuple[list[str], str]]:
    """What is typed and what is printed, block by block; code within the text is typed, too."""
    for language, block in FENCE.findall(text_of(page)):
        if language == "console":
            lines = block.replace("\\\n", "").splitlines()
            typed = [line[2:] for line in lines if line.startswith("$ ")]
            printed = [line for line in lines if not line.startswith("$ ")]
            yield (typed, "\n".join(printed)) if typed else (lines, "")
    yield CODE.findall(prose(page)), ""


def commands() -> Iterator[Command]:
    for page in FOR_USERS:
        for typed, printed in blocks(page):
            for line in typed:
                start = HARNESS.match(line)
                if start and "…" not in line and "--help" not in line:
                    words = shlex.split(line[start.end() :].partition("||")[0], comments=True)
                    refusal = printed if REFUSED in printed else ""
                    yield Command(page.name, tuple(words), refusal)


COMMANDS = {command.words: command for command in commands()}


def as_check(words: tuple[str, ...]) -> list[str]:
    """The same settings for ``check``, which composes and validates, and runs nothing."""
    kept = [word for word in words if word not in {"--json", "--redact"}]
    for flag in {"--out", "-o"} & set(kept):
        del kept[kept.index(flag) : kept.index(flag) + 2]
    if {"--cfg", "--info"} & set(kept):
        return kept
    if kept[:1] == ["export"]:
        # It runs nothing by itself.
        return kept[: kept.index(">")] if ">" in kept else kept
    match kept[:1]:
        case ["rehearse"]:
            return ["check", "device=npu", "rehearsal.emulate=true", *kept[1:]]
        case [
            "attach"
            | "compare"
            | "gate"
            | "help"
            | "import"
            | "list"
            | "merge"
            | "read"
            | "report"
            | "view"
        ]:
            return ["check", *(word for word in kept if "=" in word and "/" not in word)]
        case ["check" | "doctor"]:
            return ["check", *kept[1:]]
        case _:
            return ["check", *kept]


@pytest.fixture
def readers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages have their reader write."""
    for page in FOR_USERS:
        for _, block in FENCE.findall(text_of(page)):
            if title := TITLED_FILE.match(block):
                file = tmp_path / title[1]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "none")
def test_every_command_composes(
    words: tuple[str, ...],
    readers_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = COMMANDS[words]
    monkeypatch.setattr(sys, "argv", ["harness", *as_check(words)])
    with pytest.raises(SystemExit) as ended:
        main()  # not __main__, which sets signal handlers for the whole process
    errors = capsys.readouterr().err
    assert ended.value.code == (2 if command.refusal else 0), f"{command.page}: {errors}"
    assert errors.strip() == command.refusal or words[0] == "export"
    assert not any(readers_folder.glob("outputs"))


def test_the_commands_of_the_pages_were_found() -> None:
    assert len(COMMANDS) > 40


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "README.zh.md"], ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert not anchor or anchor in slugs(target), link


def test_every_page_is_reached_from_readme() -> None:
    reached: set[Path] = set()
    ahead = {README}
    while ahead:
        reached |= ahead
        links = {(page, path) for page in ahead for path in LINK.findall(prose(page))}
        ahead = {(page.parent / path.partition("#")[0]).resolve() for page, path in links}
        ahead = {page for page in ahead & set(PAGES) if page not in reached}
    assert reached == set(PAGES)


def settings_and_groups() -> set[str]:
    """Every name of the generated reference."""
    leaves = re.findall(r"^\| `([\w.]+)` \|", text_of(DOCS / "settings.md"), re.MULTILINE)
    return {*leaves, *(leaf.rpartition(".")[0] for leaf in leaves)}


@pytest.mark.parametrize("page", FOR_USERS, ids=lambda page: page.name)
def test_every_setting_exists(page: Path) -> None:
    typed = [line for lines, printed in blocks(page) if REFUSED not in printed for line in lines]
    names = {name for text in (prose(page), *typed) for name in SETTING.findall(text)}
    others = {name for name in names if name.startswith(OPEN_GROUPS) or name.endswith(ENDINGS)}
    assert names - others <= settings_and_groups()


@pytest.mark.parametrize("page", FOR_USERS, ids=lambda page: page.name)
def test_every_file_exists(page: Path) -> None:
    for path in CODE.findall(prose(page)):
        placeholder = any(part.isupper() for part in re.split(r"[/.]", path))
        if IN_THE_CHECKOUT.fullmatch(path) and not placeholder:
            assert (ROOT / path).exists(), path


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a text whose first cell is code."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line] for line in lines]


def section(heading: str) -> str:
    """What stands below a heading of files-and-tables.md, up to the next one."""
    below = text_of(DOCS / "files-and-tables.md").partition(f"# {heading}\n")[2]
    return re.split(r"^#+ ", below, maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("name", tables.SCHEMAS)
def test_tables_have_the_columns_that_the_page_lists(name: str) -> None:
    listed = [(column.strip("`"), dtype) for column, dtype, _ in rows(section(name))]
    assert listed == [(column, str(dtype)) for column, dtype in tables.SCHEMAS[name].items()]


def test_run_json_has_the_fields_that_the_page_lists() -> None:
    for part, record in zip(
        section("run.json").split("An entry of"), (RunRecord, Delivery), strict=True
    ):
        listed = {field for names, _ in rows(part) for field in CODE.findall(names)}
        assert listed == set(record.__struct_fields__)


def test_the_glossary_defines_each_word_once_and_all_that_it_compares() -> None:
    definitions, _, table = text_of(DOCS / "glossary.md").partition("## The same things elsewhere")
    terms = re.findall(r"^- \*\*(.+?)\*\*", definitions, re.MULTILINE)
    defined = [word for term in terms for word in term.split(", ")]
    first_cells = re.findall(r"^\| (?!---|harness|all other)(.+?) \|", table, re.MULTILINE)
    compared = {word for cell in first_cells for word in cell.split(", ")}
    assert len(defined) == len(set(defined))
    assert compared
    assert compared <= set(defined)


@pytest.mark.parametrize("page", FOR_USERS, ids=lambda page: page.name)
def test_pages_use_the_words_of_the_glossary(page: Path) -> None:
    text = text_of(page).lower()
    assert not {word: better for word, better in OTHER_WORDS.items() if word in text}


CHINESE = ROOT / "README.zh.md"
LEVELS = re.compile(r"^#+(?= )", re.MULTILINE)


def typed_in(page: Path) -> list[str]:
    """What is typed in the console blocks of a page, without comments; and what is printed."""
    blocks_ = [block for language, block in FENCE.findall(text_of(page)) if language == "console"]
    return [re.sub(r"  +# .*", "", block) for block in blocks_]


def test_the_chinese_readme_is_in_step_with_the_english_one() -> None:
    assert LEVELS.findall(prose(CHINESE)) == LEVELS.findall(prose(README))
    assert typed_in(CHINESE) == typed_in(README)
    codes = [set(CODE.findall(prose(page))) for page in (README, CHINESE)]
    assert codes[0] == codes[1]
    links = [
        sorted(link for link in LINK.findall(prose(page)) if "README" not in link)
        for page in (README, CHINESE)
    ]
    assert links[0] == links[1]
    rows_ = [
        sum(line.startswith("|") for line in text_of(page).splitlines())
        for page in (README, CHINESE)
    ]
    assert rows_[0] == rows_[1]


def test_readme_is_read_in_three_minutes() -> None:
    assert len(text_of(README)) < 8_000
