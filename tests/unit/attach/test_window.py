"""Windows that leave nothing to read, or of which it is not known whether they go on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.attach import captures
from harness.attach.captures import Found
from harness.attach.engines import ENGINES, known, release
from harness.attach.http import server_at
from harness.attach.pipeline import Attaching, attach
from harness.attach.window import Window
from harness.cli.attach import _nothing_came
from harness.configuration.composition import compose_jobs
from harness.engines.exporting import export
from harness.errors import ExitCode, MachineError, NotDeliveredError, WindowError

WORDS = (
    *("device=cuda", "profiler.activities=[host]"),
    *("profiler.schedule.wait=0", "profiler.schedule.warmup=0"),
)
LIMIT_S = 1.0


class Sglang(BaseHTTPRequestHandler):
    """Answers as sglang does; what it does in a window, the test says."""

    begins: Callable[[Path], None]
    stop_takes_s = 0.0

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.answer(b'{"version": "0.5.23"}')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/start_profile":
            type(self).begins(Path(json.loads(body)["output_dir"]))
        else:
            time.sleep(self.stop_takes_s)
        self.answer(b"")

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Does not wait for its answers, and does not tell of clients that have left."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


class Silent:
    """A listener that shows nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""

    def waiting(self, waited_s: float, found: Sequence[Found]) -> None:
        """Show nothing."""


Held = Callable[..., Attaching]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """Return all that a window needs in a server which behaves in a way."""
    monkeypatch.setattr(captures, "_SETTLED_S", 0.05)
    servers: list[Server] = []

    def begin(begins: Callable[[Path], None], stop_takes_s: float = 0.0) -> Attaching:
        members = {"begins": staticmethod(begins), "stop_takes_s": stop_takes_s}
        server = Server(("127.0.0.1", 0), type("Handler", (Sglang,), members))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        (composed,) = compose_jobs(WORDS, multirun=False).jobs
        assert composed.request is not None
        engine = ENGINES["sglang"]
        at = server_at(f"http://127.0.0.1:{server.server_port}")
        found = known(at, engine)
        words = release(engine, found.version)
        form = next(each for each in words.forms if (each.name, each.device) == ("body", "cuda"))
        place = tmp_path / "run" / "captures"
        place.mkdir(parents=True)
        return Attaching(
            request=composed.request,
            done=export(composed.request, engine.target, words, form, str(place)),
            server=at,
            engine=engine,
            known=found,
            limit_s=LIMIT_S,
            folder=tmp_path / "run",
            captures=place,
        )

    yield begin
    for each in servers:
        each.shutdown()
        each.server_close()


def no_folder(_folder: Path) -> None:
    """Do nothing when a run begins."""


def nothing(_captures: Path) -> None:
    """Record nothing."""


def rubbish(captures: Path) -> None:
    (captures / "rank0.json").write_bytes(b'{"traceEvents": []}')


def cut_rubbish(captures: Path) -> None:
    (captures / "rank0.json").write_bytes(b'{"traceEvents": [')


def test_a_window_whose_capture_cannot_be_read_is_no_refusal(job: Held) -> None:
    with pytest.raises(NotDeliveredError) as caught:
        attach(job(rubbish), Silent(), no_folder)
    said = str(caught.value)
    assert said.startswith("what the window left in ")
    assert "captures cannot be read: nothing in it can be read: rank0.json: no event" in said


def test_a_window_that_broke_off_says_so_also_where_nothing_can_be_read(job: Held) -> None:
    hanging = job(cut_rubbish, stop_takes_s=60.0)
    with pytest.raises(WindowError) as caught:
        attach(hanging, Silent(), no_folder)
    stop = f"{hanging.server.url}/stop_profile"
    assert str(caught.value).startswith(f"{stop}: no whole answer came within 2 s; its profiler")
    assert "cannot be read: " in str(caught.value)


def test_a_window_that_broke_off_without_a_capture_fails(
    job: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    hanging = job(nothing, stop_takes_s=60.0)
    window = attach(hanging, Silent(), no_folder)
    assert isinstance(window, Window)
    assert _nothing_came(hanging, window.trouble) is ExitCode.FAILED
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == window.trouble
    assert "requests" not in "".join(lines[:2]), "nothing is known of its requests"


def test_the_body_that_was_sent_is_printed_as_it_was(
    job: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = job(nothing)
    assert _nothing_came(silent, "") is ExitCode.NOT_DELIVERED
    assert json.loads(capsys.readouterr().err.splitlines()[-1]) == json.loads(silent.done.text)


@pytest.mark.parametrize(
    ("stop_takes_s", "said"),
    [(0.0, "the server has stopped the window"), (60.0, "its profiler may go on, and POST")],
)
def test_a_start_without_an_answer_says_what_became_of_the_window(
    job: Held, stop_takes_s: float, said: str
) -> None:
    late = job(lambda _captures: time.sleep(5), stop_takes_s=stop_takes_s)
    with pytest.raises(MachineError) as caught:
        attach(late, Silent(), no_folder)
    first, second = str(caught.value).split("; ", 1)
    assert first == f"{late.server.url}/start_profile: no whole answer came within 1 s"
    assert said in second
