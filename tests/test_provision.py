"""Before a run: what its plugs lack is brought or told in a sentence, and nothing is written before that."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import v2m4.provision as subject
from v2m4.cli import main
from v2m4.errors import V2M4Error
from v2m4.events import Notice, RunStarted
from v2m4.generators import GENERATORS
from v2m4.pipeline import reconstruct
from v2m4.plugs import PORTS
from v2m4.provision import needed, provide
from v2m4.recipe import Recipe
from v2m4.registry import Plug
from v2m4.settings import Settings, changed
from v2m4.steps import STAGES

LEARNED = [(port, plug) for port in ("generator", "stereo", "perceptual", "tracks") for plug in PORTS[port].values() if plug.learned]  # noqa: E501  # fmt: skip


def settings_with(port: str, name: str) -> Settings:
    """Settings whose run works with a plug."""
    if port == "tracks":
        return changed(
            Settings(), {"tracks": name, "registration.method": "meshes", "registration.meshes.tracks.enabled": True}
        )
    return changed(Settings(), {"generator.name" if port == "generator" else port: name, "refinement.enabled": False})


@pytest.fixture
def nothing_cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("v2m4.registry.cached", lambda repo, file, revision: None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no torch"))
    monkeypatch.setattr(Plug, "absent_packages", lambda self: [])


@pytest.mark.usefixtures("nothing_cached")
@pytest.mark.parametrize("why", ["offline", "unreachable", "full"])
@pytest.mark.parametrize(("port", "plug"), LEARNED, ids=[plug.name for _, plug in LEARNED])
def test_absent_weights_are_told_at_once_and_nothing_is_written(
    port: str, plug: Plug, why: str, lizard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "is_offline", lambda: why == "offline")
    monkeypatch.setattr(subject, "hub_reachable", lambda: why != "unreachable")
    monkeypatch.setattr(subject, "_free_gb", lambda folder: 0.01)
    told = rf"“{plug.name}” needs weights of .*about {plug.size_gb:g} GB.*`v2m4 download {plug.name}`, or (choose|do)"
    with pytest.raises(V2M4Error, match=told):
        list(reconstruct(lizard, settings_with(port, plug.name), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_generator_without_its_servers_address_is_told_at_once(lizard: Path, tmp_path: Path) -> None:
    with pytest.raises(V2M4Error, match=r"--generator\.http\.url"):
        list(reconstruct(lizard, settings_with("generator", "http"), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://nobody.invalid/", "https://127.0.0.1:9"])
def test_a_mesh_server_that_is_not_there_is_told_at_once(url: str, lizard: Path, tmp_path: Path) -> None:
    settings = changed(settings_with("generator", "http"), {"generator.http.url": url})
    with pytest.raises(V2M4Error, match="mesh server .*(cannot be reached|cannot be found)"):
        list(reconstruct(lizard, settings, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "words"), [("a.txt", "not a mesh file"), ("a.glb", "cannot be read")])
def test_a_template_that_is_no_mesh_is_told_at_once(name: str, words: str, lizard: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text("<html>")
    settings = changed(Settings(), {"generator.template": tmp_path / name})
    with pytest.raises(V2M4Error, match=words):
        list(reconstruct(lizard, settings, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_package_that_lacks_is_named() -> None:
    recipe = Recipe.of(changed(Settings(), {"matting.method": "rembg"}))
    if PORTS["matting"]["rembg"].absent_packages():
        with pytest.raises(V2M4Error, match="needs the package rembg.*pip install"):
            list(provide(recipe, STAGES))


@pytest.mark.usefixtures("nothing_cached")
def test_a_download_is_announced_before_it_begins(
    monkeypatch: pytest.MonkeyPatch, lizard: Path, tmp_path: Path
) -> None:
    done: list[str] = []
    monkeypatch.setattr(subject, "is_offline", lambda: False)
    monkeypatch.setattr(subject, "hub_reachable", lambda: True)
    monkeypatch.setattr(subject, "_free_gb", lambda folder: 1000.0)
    monkeypatch.setattr(subject, "download", lambda plug, say, progress: done.append(plug.name))
    events = reconstruct(lizard, settings_with("generator", "hunyuan3d"), tmp_path / "out")
    said = []
    for event in events:
        if isinstance(event, RunStarted):
            break
        assert isinstance(event, Notice)
        assert not done
        said.append(event.sentence)
    events.close()
    assert done == ["hunyuan3d"]
    licence, slow, coming = said
    assert "not for the EU, the UK and South Korea" in licence
    assert "made for a GPU" in slow and "hours" in slow
    assert "about 5 GB" in coming and "Tencent" in coming and "/" in coming


@pytest.mark.usefixtures("nothing_cached")
def test_a_variant_needs_its_own_weights() -> None:
    chosen = changed(settings_with("generator", "hunyuan3d"), {"generator.hunyuan3d.variant": "turbo"})
    plug = next(p for p in needed(Recipe.of(chosen), STAGES) if p.name == "hunyuan3d")
    assert all("turbo" in file for _, file, _ in plug.weights)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tracks": "cotracker3"}, "registration.video.tracks.enabled"),
        ({"tracks": "cotracker3", "registration.method": "meshes"}, "registration.meshes.tracks.enabled"),
        ({"stereo": "features", "camera.stereo.enabled": False}, "camera.stereo.enabled"),
    ],
)
def test_a_plug_that_is_named_for_nothing_is_told(changes: dict[str, object], words: str) -> None:
    (notice,) = subject.idle(Recipe.of(changed(Settings(), changes)))
    assert words in notice.sentence and f"“{changes.get('tracks', 'features')}” is not used" in notice.sentence


def test_a_plug_that_works_or_is_left_to_choose_is_none_of_these() -> None:
    named = changed(Settings(), {"stereo": "features", "registration.video.tracks.enabled": True})
    for recipe in (Recipe.of(Settings()), Recipe.of(changed(named, {"tracks": "cotracker3"}))):
        assert not list(subject.idle(recipe))


def test_every_restriction_is_said_before_the_work() -> None:
    for port, plug in LEARNED:
        said = [n.sentence for n in subject.told([plug], on_cpu=False)]
        assert bool(said) == (not plug.commercial or bool(plug.notice)), (port, plug.name)
    assert {p.name for _, p in LEARNED if p.restriction} == {
        *("hunyuan3d", "dust3r", "vggt", "vggt-commercial", "cotracker3", "cotracker3-online")
    }


def test_what_is_not_pinned_is_named_by_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "c" * 40
    blob, snapshot = tmp_path / "blobs" / ("d" * 64), tmp_path / "snapshots" / commit / "in" / "model.ckpt"
    for path in (blob, snapshot):
        path.parent.mkdir(parents=True)
    blob.write_bytes(b"weights")
    snapshot.symlink_to(blob)
    plug = replace(GENERATORS["craftsman3d"], weights=(("a/b", "in/model.ckpt", "main"),))
    assert plug.unpinned and plug.revisions == ("a/b/in/model.ckpt@main",)
    monkeypatch.setattr("v2m4.registry.cached", lambda repo, file, revision: snapshot)
    assert plug.revisions == (f"a/b/in/model.ckpt@main={commit}, digest {'d' * 64}",)
    assert {plug.name for _, plug in LEARNED if plug.unpinned} == {"craftsman3d", "vggt-commercial"}
    for name in ("craftsman3d", "vggt-commercial"):
        assert "no revision could be pinned" in {**PORTS["generator"], **PORTS["stereo"]}[name].remedy


CONTENT = bytes(range(256)) * 20000
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def fake_hub(content: bytes) -> Iterator[str]:
    """A Hub with one file in every repository, as its answers to the library look; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(b"")

        def do_GET(self) -> None:
            self.answer(content)

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(CONTENT).hexdigest()}"')
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


DOWNLOAD = f"""
from v2m4.generators import GENERATORS, GeneratorPlug
GENERATORS["toy"] = GeneratorPlug(
    "generator", "toy", "nowhere:Toy", "A toy.", "MIT", True, size_gb=0.005,
    weights=(("some/where", "model.ckpt", "{COMMIT}"),),
)
from v2m4.cli import main
raise SystemExit(main(["download", "toy"]))
"""


def command(text: str, home: Path, hub: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": hub, "HF_HUB_DISABLE_XET": "1"}
    environment["TQDM_POSITION"] = "-1"  # bars also where nobody watches
    environment.pop("HF_HUB_OFFLINE", None)
    return subprocess.run(
        [sys.executable, "-c", text], env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )


def test_the_command_downloads_with_a_bar_and_checks_what_arrived(tmp_path: Path) -> None:
    with fake_hub(CONTENT) as hub:
        done = command(DOWNLOAD, tmp_path, hub)
    assert done.returncode == 0, done.stderr
    assert "toy: 0.005 GB. Licence: MIT" in done.stdout
    assert f"5.1 MB, SHA-256 {hashlib.sha256(CONTENT).hexdigest()[:12]} as expected" in done.stdout
    assert "model.ckpt" in done.stderr and "100%" in done.stderr


def test_the_command_refuses_what_arrived_damaged(tmp_path: Path) -> None:
    with fake_hub(CONTENT[:-1] + b"!") as hub:
        done = command(DOWNLOAD, tmp_path, hub)
    assert done.returncode == 2
    assert "damaged or another file" in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 1e6]


def test_without_network_the_command_says_one_sentence(tmp_path: Path) -> None:
    done = command(DOWNLOAD, tmp_path, "http://127.0.0.1:9")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "the Hub cannot be reached" in line and "v2m4 download toy" in line


def test_the_licence_stands_in_the_report() -> None:
    recipe = Recipe.of(settings_with("generator", "hunyuan3d"))
    licences = recipe.licences("flat")
    assert "South Korea" in licences["generator"] and licences["matting"] == "flat: MIT"
    assert all(len(word.rpartition("@")[2]) == 40 for word in recipe.weights["generator"])
    assert json.dumps(recipe.weights)


def test_the_list_of_downloads_tells_size_and_restrictions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "8 GB" in lines["triposg"] and "non-commercial" in lines["dust3r"] and "rembg" in lines
    assert "South Korea" in lines["hunyuan3d"]
