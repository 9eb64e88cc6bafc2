"""The `http` generator against a real server on this machine: both forms, slow, broken and hostile answers."""

from __future__ import annotations

import email
import io
import ipaddress
import json
import socket
import struct
import time
from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest
import torch
from PIL import Image

from tests.generators.http.mesh_server import Behave, answer, break_off, drip, flood, horse, mesh_server
from tests.generators.triposr.tiny_triposr import disc_picture
from v2m4.errors import V2M4Error
from v2m4.generators.http.address import look_up, parse, permitted
from v2m4.generators.http.answer import mesh_from_bytes
from v2m4.generators.http.generator import HttpGenerator
from v2m4.settings import GeneratorSettings, HttpSettings


def generator(url: str, **changes: object) -> HttpGenerator:
    http = HttpSettings(url=url, **{"retries": 0, "timeout_s": 5.0, **changes})  # type: ignore[arg-type]
    return HttpGenerator(GeneratorSettings(max_faces=500, http=http))


def ask(url: str, **changes: object):
    return generator(url, **changes)(disc_picture(), torch.Generator().manual_seed(1)).mesh


def picture_of(body: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(body)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


@pytest.mark.parametrize("kind", ["glb", "obj", "ply"])
def test_a_mesh_comes_back_in_canonical_pose(kind: str) -> None:
    with mesh_server(answer(horse(kind))) as server:
        mesh = ask(server.url)
    low, high = mesh.vertices.amin(0), mesh.vertices.amax(0)
    assert torch.allclose(high - low, torch.tensor([1.0, 1 / 3, 2 / 3] if kind != "ply" else [1.0, 2 / 3, 1 / 3]))
    assert torch.allclose(high, -low)
    if kind != "obj":
        assert mesh.colors is not None
        assert mesh.colors[:, 0].mean() > mesh.colors[:, 2].mean()


def test_trellis_cpp_gets_a_form_with_the_picture() -> None:
    with mesh_server(answer(horse())) as server:
        ask(server.url)
        (asked,) = server.asked
    assert asked.path == "/generate"
    form = email.message_from_bytes(
        b"Content-Type: " + asked.headers["content-type"].encode() + b"\r\n\r\n" + asked.body
    )
    parts = {part.get_param("name", header="content-disposition"): part for part in form.get_payload()}
    assert set(parts) == {"image", "seed"}
    assert parts["image"].get_filename()
    assert np.array_equal(picture_of(parts["image"].get_payload(decode=True)), disc_picture())
    assert int(parts["seed"].get_payload()) >= 0


def test_the_plain_form_posts_the_picture_itself() -> None:
    with mesh_server(answer(horse())) as server:
        ask(server.url + "/v1/mesh?quality=high", form="plain")
        (asked,) = server.asked
    assert asked.path == "/v1/mesh?quality=high"
    assert asked.headers["content-type"] == "image/png"
    assert asked.headers["x-max-faces"] == "500"
    assert np.array_equal(picture_of(asked.body), disc_picture())


def test_the_seed_follows_the_random_numbers() -> None:
    with mesh_server(answer(horse())) as server:
        for seed in (1, 1, 2):
            generator(server.url, form="plain")(disc_picture(), torch.Generator().manual_seed(seed))
        first, again, other = (asked.headers["x-seed"] for asked in server.asked)
    assert first == again != other


def test_a_busy_server_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with mesh_server(answer(b"", 503), break_off, answer(horse())) as server:
        assert len(ask(server.url, retries=2).faces) > 10
        assert len(server.asked) == 3


def test_a_server_that_stays_busy_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with mesh_server(answer(b'{"error": "queue full"}', 503)) as server:
        with pytest.raises(V2M4Error, match="asked 3 times, but it is busy .*queue full"):
            ask(server.url, retries=2)
        assert len(server.asked) == 3


HUGE_PLY = (
    b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
    b"element face 4000000000\nproperty list uchar int vertex_indices\nend_header\n" + b"\0" * 99
)
BAD: dict[str, tuple[Behave, str]] = {
    "its own error": (answer(b'{"error":"3D reconstruction\\nfailed"}', 500), "status 500: 3D reconstruction failed"),
    "an error page": (answer(b"<html>\x1b[31mno</html>", 404), "status 404: <html> \\[31mno"),
    "an error nested without end": (answer(b"[" * 60_000, 500), "status 500"),
    "nothing": (answer(b""), "empty answer"),
    "text": (answer(b"hello there"), "no mesh .*hello there"),
    "a web page": (answer(b"<!doctype html><p>Sign in</p>"), "no mesh"),
    "json": (answer(b'{"job": 3}'), 'no mesh .*begins “{"job": 3}”'),
    "a redirect": (answer(b"", 302, Location="http://169.254.169.254/"), "points to another address .*not followed"),
    "a packed answer": (answer(horse(), Content_Encoding="gzip"), "compressed answer"),
    "half a GLB": (answer(horse()[:400]), "cannot be read|damaged"),
    "a GLB header": (answer(b"glTF" + b"\0" * 40), "cannot be read|damaged"),
    "half an answer": (break_off, "broke off"),
    "a flood": (flood, "more than 0.05 MB"),
    "an OBJ without faces": (answer(b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"), "only points, no faces. Try another seed"),
    "an OBJ with flat faces": (answer(b"v 0 0 0\nv 1 0 0\nf 1 2 2\n"), "no area. Try another seed"),
    "an OBJ with NaN": (answer(b"v 0 0 0\nv 1 nan 0\nv 0 1 0\nf 1 2 3\n"), "not finite|cannot be read"),
    "an OBJ with a wrong index": (answer(b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n"), "server sent"),
    "an OBJ of one face": (answer(b"v 0 0 0\nv 1 0 0\nv 0 1 0\n" + b"f 1 2 3\n" * 2000), "Nothing is left"),
    "a PLY of too little": (answer(HUGE_PLY), "faces end before"),
    "not HTTP": (lambda handler: handler.wfile.write(b"SSH-2.0-x\r\n"), "broke off"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_is_told_in_a_sentence(name: str) -> None:
    behave, told = BAD[name]
    with mesh_server(behave) as server, pytest.raises(V2M4Error, match=told) as caught:
        ask(server.url, megabytes=0.05)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("headers_too", [False, True])
def test_a_server_that_drips_is_given_up_in_time(headers_too: bool) -> None:
    start = time.monotonic()
    body = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 if headers_too else horse()
    with mesh_server(drip(body, 0.02, headers_too)) as server, pytest.raises(V2M4Error, match="within 0.4 s"):
        ask(server.url, timeout_s=0.4)
    assert time.monotonic() - start < 2


def test_a_silent_server_is_given_up_in_time() -> None:
    with mesh_server(lambda handler: time.sleep(1.5)) as server, pytest.raises(V2M4Error, match="within 0.3 s"):
        ask(server.url, timeout_s=0.3)


def test_a_flood_that_is_announced_is_refused_at_the_header() -> None:
    def announce(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(10 * 2**30))
        handler.end_headers()
        time.sleep(1.5)

    start = time.monotonic()
    with mesh_server(announce) as server, pytest.raises(V2M4Error, match="announces 10240 MB, more than the 0.05 MB"):
        ask(server.url, megabytes=0.05)
    assert time.monotonic() - start < 1


def test_a_plain_server_asked_by_https_is_told_so() -> None:
    with mesh_server(answer(horse())) as server, pytest.raises(V2M4Error, match="does not speak https .*write http://"):
        ask(server.url.replace("http:", "https:"))


def test_port_0_is_no_address() -> None:
    with pytest.raises(V2M4Error, match="port 0"):
        ask("http://127.0.0.1:0")


def test_nobody_there_is_told_in_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(V2M4Error, match="cannot be reached .*Start it"):
            ask(f"http://127.0.0.1:{port}")


def _glb(described: dict) -> bytes:
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sII", b"glTF", 2, 20 + len(text)) + struct.pack("<I4s", len(text), b"JSON") + text


@pytest.mark.parametrize(
    ("described", "told"),
    [
        ({"asset": {"version": "2.0"}, "accessors": [{"count": 10**11, "type": "VEC3"}]}, "more than"),
        ({"asset": {"version": "2.0"}, "accessors": [{"count": float("inf")}]}, "damaged"),
        ({"asset": {"version": "2.0"}, "nodes": [{"children": [float("inf")]}]}, "damaged"),
        ({"meshes": [{"primitives": 40 * [{"indices": 0}]}], "accessors": [{"count": 3 * 10**6}]}, "more than"),
        (
            {
                "meshes": [{"primitives": [{"indices": 0}]}],
                "accessors": [{"count": 3 * 10**6}],
                "nodes": 40 * [{"mesh": 0}],
            },
            "more than",
        ),
        ({"asset": {"version": "2.0"}, "nodes": [{"children": [1]}, {"children": [0]}]}, "not a tree"),
        ({"asset": {"version": "2.0"}, "nodes": [{"children": [1, 1]}, {}]}, "not a tree"),
        ({"asset": {"version": "2.0"}, "nodes": [{"children": ["x"]}]}, "damaged"),
        ({"asset": {"version": "2.0"}, "accessors": 3}, "damaged"),
        (
            {
                "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "targets": 100 * [{"POSITION": 0}]}]}],
                "accessors": [{"count": 3 * 10**6, "componentType": 5126, "type": "VEC3"}],
                "nodes": [{"mesh": 0}],
            },
            "morph targets",
        ),
    ],
)
def test_a_hostile_glb_is_refused(described: dict, told: str) -> None:
    with pytest.raises(V2M4Error, match=told):
        mesh_from_bytes(_glb(described), 500)


def test_a_glb_nested_without_end_is_damaged() -> None:
    text = b'{"a":' + b"[" * 200_000
    glb = struct.pack("<4sII", b"glTF", 2, 20 + len(text)) + struct.pack("<I4s", len(text), b"JSON") + text
    with pytest.raises(V2M4Error, match="damaged"):
        mesh_from_bytes(glb, 500)


def test_an_address_may_hold_letters_of_any_alphabet() -> None:
    assert parse("http://mesh.example/é?x=ü%20&y=1").path == "/%C3%A9?x=%C3%BC%20&y=1"


def test_files_that_a_mesh_names_are_not_opened(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.mtl").write_text("newmtl m\nKd 1 0 0\n")
    monkeypatch.chdir(tmp_path)
    opened: list[str] = []
    real = open

    def spy(file, *arguments, **options):
        opened.append(str(file))
        return real(file, *arguments, **options)

    monkeypatch.setattr("builtins.open", spy)
    names = f"mtllib {tmp_path}/secret.mtl\nmtllib secret.mtl\nusemtl m\n"
    mesh_from_bytes((names + "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\n").encode(), 500)
    assert not [name for name in opened if "secret" in name]


@pytest.mark.parametrize(
    ("address", "laptop", "public"),
    [
        ("127.0.0.1", True, False),
        ("::1", True, False),
        ("10.1.2.3", True, False),
        ("192.168.1.20", True, False),
        ("172.20.0.1", True, False),
        ("100.64.0.1", True, False),
        ("0.0.0.0", True, False),
        ("fd00::1", True, False),
        ("169.254.169.254", False, False),
        ("fe80::1", False, False),
        ("224.0.0.1", False, False),
        ("::ffff:127.0.0.1", True, False),
        ("::ffff:169.254.169.254", False, False),
        ("64:ff9b::7f00:1", True, False),
        ("2002:7f00:1::", True, False),
        ("64:ff9b:1::7f00:1", True, False),
        ("::127.0.0.1", True, False),
        ("192.88.99.1", True, False),
        ("8.8.8.8", True, True),
        ("2606:4700::1111", True, True),
    ],
)
def test_which_addresses_may_be_asked(address: str, laptop: bool, public: bool) -> None:
    parsed = ipaddress.ip_address(address)
    assert permitted(parsed, public=False) == laptop
    assert permitted(parsed, public=True) == public


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9", "http://2130706433:9"])
def test_a_public_host_asks_nobody_in_its_own_network(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "somebody/v2m4")
    monkeypatch.delenv("V2M4_PUBLIC", raising=False)
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: pytest.fail("a connection was opened"))
    with pytest.raises(V2M4Error, match="whole internet|cannot be found"):
        ask(url)


def test_a_name_with_one_private_address_is_refused_on_a_public_host(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)
    with pytest.raises(V2M4Error, match=r"10\.0\.0\.1"):
        look_up(parse("http://mesh.example"), public=True)
    assert look_up(parse("http://mesh.example"), public=False) == ["8.8.8.8", "10.0.0.1"]


def test_a_name_is_looked_up_once_and_the_connection_goes_to_what_was_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    with mesh_server(answer(horse())) as server:
        port = int(server.url.rsplit(":", 1)[1])
        looked_up = []

        def fake(host, *arguments, **options):
            if host == "127.0.0.1":
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
            looked_up.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", fake)
        ask(f"http://mesh.example:{port}")
        assert looked_up == ["mesh.example"]
        assert server.asked[0].headers["host"] == f"mesh.example:{port}"


@pytest.mark.parametrize(
    "url", ["ftp://host", "127.0.0.1:8080", "http://", "http://host:99999", "file:///etc/passwd", "http://a b"]
)
def test_what_is_no_address_is_told_in_a_sentence(url: str) -> None:
    with pytest.raises(V2M4Error, match="address"):
        generator(url)


def test_no_name_or_password_goes_into_the_settings() -> None:
    with pytest.raises(V2M4Error, match="password"):
        generator("http://me:secret@127.0.0.1:8080")


def test_without_an_address_the_setting_is_named() -> None:
    with pytest.raises(V2M4Error, match="generator.http.url"):
        HttpGenerator(GeneratorSettings())
