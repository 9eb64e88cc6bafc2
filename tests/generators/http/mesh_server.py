"""A small mesh server for tests: it remembers what it was asked and answers as it is told, well or badly."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import trimesh


@dataclass
class Asked:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


Behave = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class MeshServer:
    """``url`` of a running server, what it was ``asked``, and how it answers the next requests (``behave``, the last
    one again and again)."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    behave: list[Behave] = field(default_factory=list)


@contextlib.contextmanager
def mesh_server(*behave: Behave) -> Iterator[MeshServer]:
    """A server on a free port of this machine, for as long as the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            known.asked.append(Asked(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            step = known.behave[0] if len(known.behave) == 1 else known.behave.pop(0)
            with contextlib.suppress(OSError):
                step(self)
            self.close_connection = True

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    known = MeshServer(f"http://127.0.0.1:{server.server_port}", behave=list(behave))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()


def answer(body: bytes, status: int = 200, kind: str = "model/gltf-binary", **headers: str) -> Behave:
    """Answer with this body."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def drip(body: bytes, pause_s: float, headers_too: bool = False) -> Behave:
    """Answer a byte at a time."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        if not headers_too:
            handler.send_response(200)
            handler.end_headers()
        for byte in body:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(pause_s)

    return behave


def break_off(handler: BaseHTTPRequestHandler) -> None:
    """Promise more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"glTF")


def flood(handler: BaseHTTPRequestHandler) -> None:
    """Send without end."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"glTF" * 4096)


def horse(kind: str = "glb") -> bytes:
    """A body on four unequal legs, y up, 3 long: a coloured box mesh in the given format."""
    boxes = [trimesh.creation.box(extents=(3, 1, 1))]
    for x, z, length in ((1, 0.3, 1.0), (1, -0.3, 1.0), (-1, 0.3, 0.8), (-1, -0.3, 0.8)):
        leg = trimesh.creation.box(extents=(0.2, length, 0.2))
        boxes.append(leg.apply_translation((x, -0.5 - length / 2, z)))
    mesh = trimesh.util.concatenate(boxes)
    mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=np.tile([200, 100, 50, 255], (len(mesh.vertices), 1)))
    exported = mesh.export(file_type=kind)
    return exported.encode() if isinstance(exported, str) else exported
