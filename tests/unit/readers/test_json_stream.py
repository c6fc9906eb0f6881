"""A JSON list that is decoded chunk by chunk."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from harness.readers.base import CaptureError
from harness.readers.json_stream import EventFile


class Event(Struct):
    name: str = ""
    dur: float | None = None


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9) | st.just('}, {"'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
objects = st.lists(st.dictionaries(st.text(max_size=3) | st.just("},{"), values, max_size=4))
layouts = st.sampled_from([{}, {"separators": (",", ":")}, {"indent": 2}, {"ensure_ascii": False}])


def read(text: bytes, kind: Any = Event, chunk_bytes: int = 64) -> tuple[list[Any], list[str]]:
    events = EventFile(io.BytesIO(text), "trace.json", kind, chunk_bytes)
    return [event for chunk in events.chunks() for event in chunk], events.notes


@given(objects, layouts, st.integers(1, 200))
def test_any_list_of_objects_is_the_same_however_it_is_cut(
    given_objects: list[dict[str, Any]], layout: dict[str, Any], chunk_bytes: int
) -> None:
    text = json.dumps(given_objects, **layout).encode()
    assert read(text, dict[str, Any], chunk_bytes) == (given_objects, [])


@given(objects, st.integers(1, 200), st.data())
def test_a_file_that_was_cut_off_yields_the_whole_objects_before_and_the_place(
    given_objects: list[dict[str, Any]], chunk_bytes: int, data: st.DataObject
) -> None:
    text = json.dumps(given_objects).encode()
    cut = data.draw(st.integers(1, len(text) - 1))
    heads = [given_objects[:n] for n in range(len(given_objects) + 1)]
    ends = [len(json.dumps(head).encode()) - 1 for head in heads]
    whole = sum(end <= cut for end in ends[1:])
    events, notes = read(text[:cut], dict[str, Any], chunk_bytes)
    assert events == given_objects[:whole]
    place = cut - len(text[ends[whole] : cut].lstrip(b", ["))
    closed = "" if place < cut else ", or never closed"
    assert notes == [f"trace.json: cut off at byte {place}{closed}"]


def test_a_wrong_type_costs_one_event_and_is_named_with_its_place() -> None:
    events, notes = read(b'[{"name": "a"}, {"name": 1}, {"name": "b", "dur": 2.5}]', chunk_bytes=8)
    assert events == [Event("a"), Event("b", 2.5)]
    assert notes == ["trace.json: at byte 16: Expected `str`, got `int` - at `$.name`"]


def test_what_python_writes_and_json_does_not_know_is_read() -> None:
    text = b'[{"name": "a", "dur": NaN}, {"name": "\\ud83d"}, {"name": "\xff"}, {"name": "b"}]'
    for chunk_bytes in (1, 30, 1000):
        events, notes = read(text, chunk_bytes=chunk_bytes)
        assert events == [Event("a"), Event("?"), Event("\N{REPLACEMENT CHARACTER}"), Event("b")]
        assert not notes


def test_what_is_no_event_is_left_out_and_many_such_are_counted() -> None:
    events, notes = read(b'[{"name": "a"} oops {"name": "b"}]')
    assert events == [Event("a"), Event("b")]
    assert notes == ["trace.json: at byte 15: not an event: b'oops'"]
    events, notes = read(b"[" + b'{"name": 1}, ' * 9 + b'{"name": "b"}]')
    assert events == [Event("b")]
    assert len(notes) == 6
    assert notes[-1] == "trace.json: 9 events were skipped; the first 5 are listed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (b'{"traceEvents": []}', "no list of events"),
        (b"SQLite format 3\0", "no list of events"),
    ],
)
def test_what_is_no_list_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        read(text)


def test_an_empty_list_has_no_events() -> None:
    assert read(b"\xef\xbb\xbf [ ]\n") == ([], [])


def test_a_string_without_end_does_not_fill_the_memory() -> None:
    text = b'[{"name": "a"}, {"name": "' + b"x" * (5 << 20)
    events, notes = read(text, chunk_bytes=1 << 20)
    assert events == [Event("a")]
    assert notes == ["trace.json: cut off at byte 16"]


def test_an_object_without_end_is_looked_at_a_few_times_only() -> None:
    text = b'[{"name": "a"}, {"name": "' + b"}, {x" * (6 << 20)
    began = time.process_time()
    events, notes = read(text, chunk_bytes=1 << 18)
    assert events == [Event("a")]
    assert notes == ["trace.json: cut off at byte 16"]
    assert time.process_time() - began < 10
