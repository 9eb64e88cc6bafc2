"""One question to a mesh server, bounded in time and size; nothing is followed, unpacked or trusted."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from v2m4.errors import V2M4Error
from v2m4.generators.http.address import PORTS, Target, look_up
from v2m4.host import on_public_host

_CONNECT_S = 10.0
_PIECE = 1 << 16
_MOST_TOLD = 200  # characters of a server's own words that are shown
_BUSY = (429, 502, 503, 504)


@dataclass(frozen=True)
class Bounds:
    """timeout_s: for the whole answer. megabytes: its size. retries: after the first attempt, where the server cannot
    be reached or says that it is busy; wait_s: before the first of them, twice as long before each further one."""

    timeout_s: float = 600.0
    megabytes: float = 200.0
    retries: int = 2
    wait_s: float = 2.0


@dataclass(frozen=True)
class Question:
    """What is posted: a body with its headers."""

    body: bytes
    headers: Mapping[str, str]


def form_with_image(png: bytes, fields: Mapping[str, str]) -> Question:
    """A multipart form (RFC 7578) with the file part “image” and text fields."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="image.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    body = b"".join([*parts, head.encode(), png, f"\r\n--{boundary}--\r\n".encode()])
    return Question(body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})


class _BusyError(Exception):
    """The attempt failed in a way that may pass."""


def call_on(target: Target, bounds: Bounds) -> None:
    """Only connect. Raises V2M4Error if the address is forbidden, or nobody listens there."""
    try:
        _connect(target, time.monotonic() + min(bounds.timeout_s, _CONNECT_S)).close()
    except _BusyError as error:
        raise V2M4Error(f"The mesh server {target.origin} was called on, but {error}") from error


def ask(target: Target, path: str, question: Question, bounds: Bounds) -> bytes:
    """Post the question; returns the body of the answer.

    Raises V2M4Error: the address is forbidden, the server cannot be reached, is busy, too slow, refuses, redirects, or
    sends too much.
    """
    deadline = time.monotonic() + bounds.timeout_s
    for attempt in range(bounds.retries + 1):
        try:
            return _attempt(target, path, question, bounds, deadline)
        except _BusyError as error:
            wait = bounds.wait_s * 2**attempt
            if attempt == bounds.retries or time.monotonic() + wait >= deadline:
                tries = "once" if attempt == 0 else f"{attempt + 1} times"
                raise V2M4Error(f"The mesh server {target.origin} was asked {tries}, but {error}") from error
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _attempt(target: Target, path: str, question: Question, bounds: Bounds, deadline: float) -> bytes:
    connection = _connect(target, deadline)
    link, late = connection.sock, threading.Event()

    def give_up() -> None:
        late.set()
        with contextlib.suppress(OSError):  # it may be closed already
            link.shutdown(socket.SHUT_RDWR)

    # A time-out of the socket holds for each piece; only this one holds for the sum of them.
    watch = threading.Timer(max(0.0, deadline - time.monotonic()), give_up)
    watch.daemon = True
    watch.start()
    try:
        headers = {"Accept": "model/gltf-binary, model/obj, */*", "Accept-Encoding": "identity", "Connection": "close"}
        connection.request("POST", path, question.body, {**headers, **question.headers})
        answer = connection.getresponse()
        body = _read(answer, bounds.megabytes if answer.status == 200 else 1 / 16, target)
        if late.is_set():
            raise TimeoutError
        _check(answer, body, target)
        return body
    except V2M4Error:
        raise
    except Exception as error:
        if late.is_set() or isinstance(error, TimeoutError):
            raise V2M4Error(
                f"The mesh server {target.origin} did not answer within {bounds.timeout_s:g} s. Raise "
                "generator.http.timeout_s, or see what the server is doing."
            ) from error
        if isinstance(error, (OSError, http.client.HTTPException)):
            raise _BusyError(
                f"its answer broke off ({_first_line(error)}). Look at the server's own messages."
            ) from error
        raise
    finally:
        watch.cancel()
        connection.close()


def _connect(target: Target, deadline: float) -> http.client.HTTPConnection:
    """A connection to one of the server's permitted addresses."""
    problem: Exception | None = None
    for address in look_up(target, on_public_host()):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            plain = socket.create_connection((address, target.port), timeout=min(_CONNECT_S, left))
            try:
                link: socket.socket = plain
                if target.scheme == "https":
                    link = ssl.create_default_context().wrap_socket(plain, server_hostname=target.host)
            except BaseException:
                plain.close()
                raise
        except ssl.SSLCertVerificationError as error:
            raise V2M4Error(
                f"The mesh server {target.origin} has no certificate that can be trusted ({_first_line(error)}). Give "
                "the name that its certificate is for, or reach it by http:// through a tunnel of your own."
            ) from error
        except ssl.SSLError as error:
            raise V2M4Error(
                f"The mesh server {target.origin} does not speak https ({_first_line(error)}). If it is a plain "
                "server, write http:// in generator.http.url."
            ) from error
        except OSError as error:
            problem = error
            continue
        link.settimeout(max(0.1, deadline - time.monotonic()))
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.default_port = PORTS[target.scheme]  # which the Host header leaves out
        connection.sock = link
        return connection
    raise _BusyError(
        f"it cannot be reached ({_first_line(problem) if problem else 'no address'}). Start it, or correct "
        "generator.http.url."
    ) from problem


def _read(answer: http.client.HTTPResponse, megabytes: float, target: Target) -> bytes:
    most = int(megabytes * 2**20)
    announced = answer.length or 0
    if answer.status == 200 and announced > most:
        raise _too_much(f"announces {announced / 2**20:.0f} MB, more than the {megabytes:g} MB allowed", target)
    pieces, total = [], 0
    while piece := answer.read(_PIECE):
        total += len(piece)
        if total > most:
            if answer.status != 200:
                break
            raise _too_much(f"sends more than {megabytes:g} MB", target)
        pieces.append(piece)
    if answer.length and answer.status == 200:
        raise http.client.IncompleteRead(b"", answer.length)
    return b"".join(pieces)


def _too_much(how: str, target: Target) -> V2M4Error:
    return V2M4Error(
        f"The mesh server {target.origin} {how}. Ask it for a lighter mesh, or raise generator.http.megabytes."
    )


def _check(answer: http.client.HTTPResponse, body: bytes, target: Target) -> None:
    """Raise unless this is a plain answer with something in it."""
    if answer.status in _BUSY:
        raise _BusyError(f"it is busy (status {answer.status}: {own_words(body) or answer.reason}). Try again later.")
    if 300 <= answer.status < 400:
        raise V2M4Error(
            f"The mesh server {target.origin} points to another address ({_printable(answer.getheader('Location', ''))}"
            "), which is not followed. Give that address if you trust it."
        )
    if answer.status != 200:
        raise V2M4Error(
            f"The mesh server {target.origin} refused the picture (status {answer.status}: "
            f"{own_words(body) or _printable(answer.reason)})."
        )
    if answer.getheader("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise V2M4Error(f"The mesh server {target.origin} sends a compressed answer, which was not asked for.")
    if not body:
        raise V2M4Error(f"The mesh server {target.origin} sent an empty answer. Look at the server's own messages.")


def own_words(body: bytes) -> str:
    """What an answer says in words, from the JSON {"error": …} or as text; shortened, without control characters."""
    text = body[: 16 * _MOST_TOLD].decode("utf-8", "replace")
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        text = str(data.get("error") or data.get("detail") or text)
    return _printable(text)


def _printable(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_MOST_TOLD]


def _first_line(error: BaseException) -> str:
    return _printable(str(error)) or type(error).__name__
