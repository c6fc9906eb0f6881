"""Text that is almost JSON: what is mended, and that nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.readers.almost_json import mended, with_backslashes
from harness.readers.base import ReadContext, ReadResult
from harness.readers.chrome import reader

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.booleans())
def test_json_keeps_its_meaning(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    # Half of a surrogate pair is no text; as an escape it stays what it is.
    encoded = text.encode(errors="replace")
    assert json.loads(mended(encoded)) == json.loads(encoded)


@pytest.mark.parametrize(
    "number", ["inf", "-inf", "nan", "-nan", "NaN", "Infinity", "-Infinity", "-nan(ind)", "1.#INF"]
)
def test_a_number_that_is_none_is_null(number: str) -> None:
    text = f'[{number}, [{number},1e5], "nan, {number}"]'
    assert json.loads(mended(text.encode())) == [None, [None, 1e5], f"nan, {number}"]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (rb"torch\cuda\__init__.py", r"torch\cuda\__init__.py"),
        (rb"C:\new\utils\_a.py", r"C:\new\utils\_a.py"),
        (rb"C:\\new\_a.py", r"C:\new\_a.py"),
        (rb"a\\b\"c\n", 'a\\b"c\n'),
        (b"a\x01\xff\xc0b", "a\x01\ufffd\ufffdb"),
        (b"tab\there", "tab\there"),
        ("ä\N{SNOWMAN}".encode(), "ä\N{SNOWMAN}"),
    ],
)
def test_strings_keep_what_json_does_not_allow(written: bytes, text: str) -> None:
    assert json.loads(mended(b'["%b", inf]' % written)) == [text, None]


def test_backslashes_that_were_read_as_escapes_come_back() -> None:
    read = json.loads(r'"torch\nn\functional.py(12): relu"')
    assert with_backslashes(read) == r"torch\nn\functional.py(12): relu"
    assert with_backslashes("two\nlines") == "two\nlines"


def trace(tmp_path: Path, *events: str, tail: str = "") -> ReadResult:
    path = tmp_path / "trace.json"
    listed = ",\n".join(events)
    path.write_bytes(
        f'{{"schemaVersion": 1, "traceEvents": [\n{listed}\n]{tail}}}'.encode("latin-1")
    )
    return reader.read(path, ReadContext())


def range_(cat: str, name: str, ts: int, args: str = "{}", dur: int = 30) -> str:
    return (
        f'{{"ph": "X", "cat": "{cat}", "name": "{name}", "pid": 5, "tid": 5, "ts": {ts},'
        f' "dur": {dur}, "args": {args}}}'
    )


OPERATOR = range_("cpu_op", "aten::mm", 1000, '{"External id": 1}')
CALL = range_("cuda_runtime", "cudaLaunchKernel", 1020, '{"correlation": 1, "External id": 1}')


@pytest.mark.parametrize("number", ["inf", "nan", "-nan", "Infinity"])
def test_a_number_that_is_none_costs_its_argument_alone(tmp_path: Path, number: str) -> None:
    args = '{"device": 0, "stream": 7, "correlation": %d, "blocks per SM": %s}'
    result = trace(
        tmp_path,
        OPERATOR,
        CALL,
        range_("kernel", "k1", 1060, args % (1, "0.5")),
        range_("kernel", "k2", 1100, args % (2, number)),
    )
    kernels = result.frames["kernels"]
    assert kernels.select("name", "duration_ns", "operator", "blocks per SM").rows() == [
        ("k1", 30_000, 0, 0.5),
        ("k2", 30_000, None, None),
    ]
    assert result.notes == ()


def test_names_with_odd_bytes_and_paths_of_windows_are_kept(tmp_path: Path) -> None:
    result = trace(
        tmp_path,
        range_("python_function", "torch\\cuda\\__init__.py(1): _lazy", 990, dur=99),
        range_("python_function", "torch\\nn\\functional.py(2): relu", 991, dur=90),
        range_("python_function", "config.py(0): \x01\xff\xc0", 992, dur=80),
        OPERATOR,
    )
    (frames,) = result.frames["stacks"]["frames"]
    assert frames.to_list() == [
        "config.py(0): \x01\ufffd\ufffd",
        r"torch\nn\functional.py(2): relu",
        r"torch\cuda\__init__.py(1): _lazy",
    ]
    assert result.notes == ()


@pytest.mark.parametrize("place", [0, 3, 51])
@pytest.mark.parametrize("name", ['say "hi(12): run', 'say "hi"(12): run', 'a"', '{"b": "c"}'])
def test_a_stray_quote_costs_one_event(tmp_path: Path, place: int, name: str) -> None:
    events = [range_("cpu_op", f"aten::op{n}", 1000 + 40 * n) for n in range(51)]
    events.insert(place, range_("python_function", name, 990))
    result = trace(tmp_path, *events, tail=', "deviceProperties": [{"name": "NVIDIA X"}]')
    names = [f"aten::op{n}" for n in range(51)]
    assert result.frames["operators"]["name"].to_list() == names
    start = len('{"schemaVersion": 1, "traceEvents": [\n')
    at = start + sum(len(event) + 2 for event in events[:place])
    shown = f'"name": "{name}", "pid": 5, "tid": 5, "ts": 990, "dur": 30, "args": {{}}}}'[:68]
    assert result.notes == (
        f"trace.json: at byte {at}: an event that is no JSON is left out: {shown}",
    )
    assert result.info.device_name == "NVIDIA X"
