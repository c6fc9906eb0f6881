"""Requests to a server of which nothing is believed: bounded in time and size, one line an error.

No redirect is followed, and no proxy is used. A key is sent in a header, and never shown.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Event, Timer
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from harness.errors import Problem, RefusedError
from harness.text import one_line, shortened

_LARGEST: Final = 8 << 20
"""Bytes of an answer; that of /server_info has some 50,000."""
_CONNECT_S: Final = 10.0
_SHOWN: Final = 160
_ALIVE_S: Final = 2.0
_KEY: Final = re.compile(r"[!-~]+")
_NAME: Final = re.compile(r"[A-Za-z0-9._:%-]+")


class Unanswered(Exception):  # noqa: N818 - it is raised as such, and never seen by a user
    """A server gave no answer that can be read; the message says why, in one phrase."""


class Refused(Unanswered):
    """Nothing listens there."""


class Answer(Struct, frozen=True):
    """What a server answered."""

    status: int
    body: bytes
    location: str = ""
    """Where a redirect leads."""
    key: str = ""
    """What it was asked with: an error may repeat it."""

    @property
    def text(self) -> str:
        """The body in one line, for a person, without the key; of a JSON error, its message."""
        text = self.body[: 1 << 16].decode(errors="replace").strip()
        with suppress(ValueError, RecursionError):
            text = _message(json.loads(text)) or text
        if self.key:
            text = text.replace(self.key, "(key)")
        return shortened(one_line(text), _SHOWN)


class Server(Struct, frozen=True, kw_only=True):
    """The address of a server, and the key that it is asked with."""

    secure: bool
    host: str
    port: int
    path: str
    """What stands before the paths of the engine; empty, or with a slash at its start."""
    key: str = ""

    @property
    def url(self) -> str:
        """The address, without any key."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}{self.path}"

    def ask(self, method: str, path: str, limit_s: float, body: bytes | None = None) -> Answer:
        """Send one request, and return its answer, whatever its status.

        Args:
            method: GET or POST.
            path: Of the engine, as ``/version``.
            limit_s: Seconds for all of it, from the connection to the last byte.
            body: JSON.

        Raises:
            Unanswered: There was no answer, or none that can be read.
        """
        headers = {"Accept": "application/json", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        connection = self._connection(min(limit_s, _CONNECT_S))
        with _cut_off(connection, limit_s) as late, _explained(self.host, late, limit_s):
            connection.connect()
            # A host of several addresses may take the whole time, and nothing is cut any more.
            if late.is_set():
                raise TimeoutError
            connection.sock.settimeout(limit_s)
            connection.request(method, self.path + path, body, headers)
            response = connection.getresponse()
            data = response.read(_LARGEST + 1)
            # A cut connection may look like the end of the answer.
            if late.is_set():
                raise TimeoutError
        if len(data) > _LARGEST:
            raise Unanswered(f"it answers with more than {_LARGEST >> 20} MiB")
        return Answer(response.status, data, response.getheader("Location", ""), self.key)

    def listens(self) -> bool:
        """Tell whether something listens there still; in doubt, it does."""
        try:
            socket.create_connection((self.host, self.port), _ALIVE_S).close()
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
        return True

    def _connection(self, connect_s: float) -> HTTPConnection:
        if self.secure:
            return HTTPSConnection(self.host, self.port, timeout=connect_s)
        return HTTPConnection(self.host, self.port, timeout=connect_s)


@contextmanager
def _cut_off(connection: HTTPConnection, limit_s: float) -> Iterator[Event]:
    """Cut a connection after a time, since one that drips a byte a second never times out."""
    late = Event()

    def cut() -> None:
        late.set()
        if connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = Timer(limit_s, cut)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        connection.close()


@contextmanager
def _explained(host: str, late: Event, limit_s: float) -> Iterator[None]:
    """Turn what sockets and HTTP raise into one phrase."""
    try:
        yield
    except socket.gaierror as error:
        raise Unanswered(f"no host is known by the name {host} ({error.strerror})") from error
    except ssl.SSLCertVerificationError as error:
        why = one_line(error.verify_message)
        raise Unanswered(f"its certificate is not trusted: {why}; SSL_CERT_FILE names yours") from (
            error
        )
    except ssl.SSLError as error:
        why = one_line(str(error.reason or error))
        raise Unanswered(f"it does not speak TLS as is needed ({why}); is it http://?") from error
    except TimeoutError as error:
        raise Unanswered(f"no whole answer came within {limit_s:g} s") from error
    except ConnectionRefusedError as error:
        raise Refused("nothing listens there: the connection was refused") from error
    except (OSError, HTTPException) as error:
        if late.is_set():
            raise Unanswered(f"no whole answer came within {limit_s:g} s") from error
        why = getattr(error, "strerror", None) or one_line(str(error)) or type(error).__name__
        raise Unanswered(f"it gave no answer in HTTP ({shortened(why, _SHOWN)})") from error


def server_at(url: str, key: str = "") -> Server:
    """Return the server of a URL.

    Raises:
        RefusedError: It is no URL of HTTP, or one with credentials in it.
    """
    fix = "attach http://HOST:PORT --engine sglang"
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError as error:
        raise _refused(url, f"it is no URL: {error}", fix) from error
    if parts.username is not None or parts.password is not None:
        shown = f"{parts.scheme}://…@{host}"
        why = "a password in a URL is kept in the shell's history and seen by other users"
        raise _refused(shown, why, "leave it out; --api-key-env NAME takes a key from a variable")
    if parts.scheme not in ("http", "https"):
        raise _refused(url, "it must begin with http:// or https://", fix)
    if not host or not _NAME.fullmatch(host) or ".." in host or len(host) > 253:  # noqa: PLR2004
        raise _refused(url, "it names no host", fix)
    if port == 0:
        raise _refused(url, "nothing listens at port 0", fix)
    if parts.query or parts.fragment:
        raise _refused(url, "a server's address has no ? and no #", fix)
    if not re.fullmatch(r"[!-~]*", parts.path):
        raise _refused(url, "its path has characters that a URL cannot have", fix)
    return Server(
        secure=parts.scheme == "https",
        host=host,
        port=port or (443 if parts.scheme == "https" else 80),
        path=parts.path.rstrip("/"),
        key=key,
    )


def is_key(text: str) -> bool:
    """Tell whether a text can be sent as a key."""
    return bool(_KEY.fullmatch(text))


def _refused(url: str, why: str, fix: str) -> RefusedError:
    return RefusedError([Problem(setting="attach", given=url, reason=why, fix=fix)])


def _message(value: Any) -> str:
    """Return the message of an error in JSON, as the engines write them."""
    for name in ("error", "detail", "message"):
        if not isinstance(value, dict):
            break
        if name in value:
            value = value[name]
            if isinstance(value, dict) and "message" in value:
                value = value["message"]
            return value if isinstance(value, str) else json.dumps(value)
    return ""
