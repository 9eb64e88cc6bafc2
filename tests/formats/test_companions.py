"""What a mesh file names and what is there of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.formats.gltf.files import textured
from v2m4.formats.companions import companions


def names(path: Path) -> list[str]:
    return [found.name for found in companions(path)]


def test_obj(tmp_path: Path) -> None:
    (tmp_path / "m.obj").write_bytes("# für\nmtllib two words.mtl\nmtllib gone.mtl\n".encode("latin-1"))
    (tmp_path / "two words.mtl").write_text("newmtl a\nmap_Kd -s 1 1 tex\\a.png\nnewmtl b\nmap_Kd gone.png\n")
    (tmp_path / "a.png").write_bytes(b"x")
    assert names(tmp_path / "m.obj") == ["two words.mtl", "a.png"]


@pytest.mark.parametrize("suffix", [".glb", ".gltf"])
def test_gltf(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "my tex.png").write_bytes(b"x")
    (tmp_path / "data.bin").write_bytes(b"x")
    file = textured()
    file.json["images"] = [{"uri": "my%20tex.png"}, {"uri": "gone.png"}, {"uri": "data:image/png;base64,AAAA"}]
    if suffix == ".glb":
        assert names(file.glb(tmp_path / "m.glb")) == ["my tex.png"]
    else:
        assert names(file.gltf(tmp_path / "m.gltf", "data.bin")) == ["my tex.png", "data.bin"]


def test_ply(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "m.ply").write_bytes(b"ply\nformat ascii 1.0\ncomment TextureFile C:\\a.png\nend_header\n")
    assert names(tmp_path / "m.ply") == ["a.png"]


def test_other_files_name_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.mp4").write_bytes(b'"uri": "m.mp4"')
    assert names(tmp_path / "m.mp4") == [] and names(tmp_path / "gone.obj") == []
