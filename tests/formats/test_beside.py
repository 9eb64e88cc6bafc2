"""Files are found under the names that other systems gave them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from v2m4.formats.beside import decode_picture, find_beside


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        ("skin.png", "skin.png"),
        ("two words.png", "two%20words.png"),
        ("50%25 grey.png", "50%25 grey.png"),  # the name as it stands comes first
        ("tex/skin.png", "tex\\skin.png"),
        ("tex/Skin.PNG", "Tex/skin.png"),
        ("skin.png", "C:\\Users\\me\\art\\skin.png"),
        ("art/skin.png", "/home/me/art/skin.png"),
        ("skin.png", "../maps/skin.png"),
        ("skin.png", '"skin.png"'),
        ("häut.png", "h%C3%A4ut.png"),
        ("ha\u0308ut.png", "h\u00e4ut.png"),  # as macOS once stored names
        ("skin.png", "tex/skin.png?v=3"),
    ],
)
def test_names(tmp_path: Path, stored: str, named: str) -> None:
    (tmp_path / stored).parent.mkdir(exist_ok=True)
    (tmp_path / stored).write_bytes(b"x")
    found = find_beside(tmp_path, named)
    assert found is not None and found.samefile(tmp_path / stored)


@pytest.mark.parametrize("named", ["gone.png", "", "\0", "x" * 5000, "..", "sub"])
def test_what_is_not_there(tmp_path: Path, named: str) -> None:
    (tmp_path / "sub").mkdir()
    assert find_beside(tmp_path, named) is None


@pytest.mark.parametrize("named", ["{}/secret.png", "../secret.png"])
def test_strangers_find_nothing_outside(tmp_path: Path, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.png").write_bytes(b"x")
    inner = tmp_path / "inner"
    inner.mkdir()
    name = named.format(tmp_path)
    monkeypatch.setenv("V2M4_PUBLIC", "0")
    assert find_beside(inner, name) is not None
    monkeypatch.setenv("V2M4_PUBLIC", "1")
    assert find_beside(inner, name) is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK"])
def test_pictures_of_every_kind_become_rgb(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        picture = Image.fromarray(np.full((4, 4), 65535 * 3 // 5, np.uint16))
    else:
        picture = Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode)
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    picture.save(path)
    pixels = decode_picture(path.read_bytes())
    assert pixels.shape == (4, 4, 3) and pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, 0.6 if mode == "I;16" else 1.0, atol=1e-4)


def test_what_is_no_picture() -> None:
    with pytest.raises(ValueError, match=r"^it is empty, or no picture of a known kind$"):
        decode_picture(b"no picture")
