"""The engines that a window can be asked of: who answers, what it says of itself, what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from harness.attach.http import Answer, Server, Unanswered
from harness.engines.base import Release, Target
from harness.engines.sglang import SGLANG
from harness.engines.versions import holding
from harness.engines.vllm import VLLM
from harness.errors import MachineError, Problem, RefusedError

ASK_S: Final = 10.0
"""Seconds for an answer about the server itself."""
_OK: Final = 200
_REDIRECTS: Final = range(300, 400)
_KEYS: Final = (401, 403)
_NOT_THERE: Final = (404, 405)
_CONFLICT: Final = 409
_SERVER_ERROR: Final = 500


class Known(Struct, frozen=True, kw_only=True):
    """What a server says of itself."""

    version: str
    ranks: int | None = None
    """How many processes it profiles; null if it does not say."""


class Engine(Struct, frozen=True, kw_only=True):
    """How one engine is asked."""

    target: Target
    identify: Callable[[Server], Known | None]
    """Returns what the server says of itself; null if it is not this engine."""
    ends_itself: bool
    """Whether a window is over when its steps are; else the engine waits for /stop_profile."""
    writes_where_told: bool
    """Whether the request says where captures go; else the server's own settings do."""
    unrecorded: str
    """The processes of which it never leaves a capture."""
    frontend: str
    """What is in the name of a capture that is of no rank, but of a process beside them."""
    no_profiler: str
    """What to do where it has no /start_profile."""

    @property
    def name(self) -> str:
        """As ``--engine`` has it."""
        return self.target.name


class _SglangInfo(Struct):
    version: str
    tp_size: int = 1
    pp_size: int = 1
    dp_size: int = 1
    attn_dp_size: int | None = None
    enable_dp_attention: bool = False

    @property
    def ranks(self) -> int:
        # Before attn_dp_size, data parallel attention shared dp_size, and the ranks of a group.
        shared = self.attn_dp_size is None and self.enable_dp_attention
        return self.tp_size * self.pp_size * (1 if shared else self.dp_size)


class _VllmInfo(Struct):
    version: str


def _sglang(server: Server) -> Known | None:
    for path in ("/server_info", "/get_server_info"):
        answer = asked(server, "GET", path)
        if answer.status not in _NOT_THERE:
            info = _decoded(server, path, answer, _SglangInfo)
            return Known(version=info.version, ranks=info.ranks)
    return None


def _vllm(server: Server) -> Known | None:
    answer = asked(server, "GET", "/version")
    if answer.status in _NOT_THERE:
        return None
    return Known(version=_decoded(server, "/version", answer, _VllmInfo).version)


ENGINES: Final[Mapping[str, Engine]] = {
    engine.name: engine
    for engine in (
        Engine(
            target=SGLANG,
            identify=_sglang,
            ends_itself=True,
            writes_where_told=True,
            unrecorded="the HTTP server, the tokenizer and the detokenizer",
            frontend="",
            no_profiler="it may be another program, or stand behind one that hides it",
        ),
        Engine(
            target=VLLM,
            identify=_vllm,
            ends_itself=False,
            writes_where_told=False,
            unrecorded="the API server beside its engine client",
            frontend=".async_llm.",
            no_profiler="start it with --profiler-config"
            ' \'{"profiler": "torch", "torch_profiler_dir": "DIR"}\'',
        ),
    )
}
"""A new one is an entry here; its words are in `harness.engines`."""


def asked(
    server: Server, method: str, path: str, body: bytes | None = None, limit_s: float = ASK_S
) -> Answer:
    """Send a request whose answer is needed.

    Raises:
        MachineError: There is no answer; or the server wants a key, or sends elsewhere.
    """
    place = f"{server.url}{path}"
    try:
        answer = server.ask(method, path, limit_s, body)
    except Unanswered as error:
        raise MachineError(f"{place}: {error}") from error
    if answer.status in _KEYS:
        how = "it does not take the key" if server.key else "it wants a key"
        fix = "--api-key-env NAME names the variable that has one"
        raise MachineError(f"{place}: {how} ({answer.status}); {fix}")
    if answer.status in _REDIRECTS:
        where = Answer(0, answer.location.encode(errors="replace")).text
        raise MachineError(
            f"{place}: it sends on to {where or 'nowhere'} ({answer.status}), and no redirect is"
            " followed; attach to that address, if it is yours"
        )
    return answer


def known(server: Server, engine: Engine) -> Known:
    """Ask a server who it is.

    Raises:
        MachineError: It gives no answer, or is not this engine.
    """
    found = engine.identify(server)
    if found is not None:
        return found
    others = [other for other in ENGINES.values() if other is not engine and _is(server, other)]
    if others:
        name = others[0].name
        raise MachineError(f"{server.url} is {name}, not {engine.name}: --engine {name}")
    raise MachineError(
        f"{server.url} does not answer as {engine.name} does (404 where its version should be);"
        " is it the address of the engine itself?"
    )


def _is(server: Server, engine: Engine) -> bool:
    try:
        return engine.identify(server) is not None
    except MachineError:
        return False


def release(engine: Engine, version: str) -> Release:
    """Return the release whose words a server takes.

    Raises:
        RefusedError: The version is older than any that was looked at, or is none.
    """
    found = holding(engine.target, version)
    if found is not None:
        return found
    oldest = engine.target.releases[-1].since
    why = f"the server says that it is {engine.name} {version!r}; what that takes is not known"
    fix = f"{engine.name} {oldest} or later"
    raise RefusedError([Problem(setting="--engine", given=engine.name, reason=why, fix=fix)])


def start(server: Server, engine: Engine, body: bytes, limit_s: float) -> None:
    """Ask a server to begin.

    Raises:
        MachineError: It does not.
    """
    answer = asked(server, "POST", "/start_profile", body, limit_s)
    if answer.status == _OK:
        return
    said = f" ({answer.status}: {answer.text})" if answer.text else f" ({answer.status})"
    if answer.status in _NOT_THERE:
        why = f"it has no /start_profile{said}: {engine.no_profiler}"
    elif answer.status == _CONFLICT:
        why = f"it is profiling already{said}; POST {server.url}/stop_profile ends that"
    elif answer.status >= _SERVER_ERROR:
        why = (
            f"its profiler did not start{said}: another window may be going on, which"
            f" POST {server.url}/stop_profile ends; its log has the reason"
        )
    else:
        why = f"it does not take the request{said}"
    raise MachineError(f"{server.url}: {why}")


_Info = TypeVar("_Info", _SglangInfo, _VllmInfo)


def _decoded(server: Server, path: str, answer: Answer, kind: type[_Info]) -> _Info:
    place = f"{server.url}{path}"
    if answer.status != _OK:
        raise MachineError(f"{place}: it answers {answer.status}: {answer.text or 'nothing'}")
    try:
        info: _Info = msgspec.json.decode(answer.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MachineError(
            f"{place}: its answer is not what the engine says there ({error})"
        ) from error
    sizes: list[Any] = [getattr(info, name, 1) for name in ("tp_size", "pp_size", "dp_size")]
    if min(sizes) <= 0 or prod(sizes) > _MOST_RANKS:
        raise MachineError(f"{place}: it says that it has {sizes} ranks, which cannot be")
    return info


_MOST_RANKS: Final = 1 << 16
