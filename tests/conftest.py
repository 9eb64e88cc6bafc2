"""What many tests share: one small clip, and one finished run of it."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: the workers share the cores already
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from PIL import Image, ImageDraw

from v2m4.settings import Settings, changed

# What a property takes says how busy the machine is, not whether it holds.
hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")

CLIP_FRAMES = 5


def little_settings(**changes):
    """The draft preset, made smaller still: a run of a few seconds."""
    return changed(
        Settings.of("draft", **changes),
        {
            "keyframes.mode": "fixed",
            "keyframes.stride": 2,
            "keyframes.min_stride": 1,
            "generator.inflate.faces": 800,
            "camera.algorithm1.descent.iterations": 5,
            "texture.size": 128,
            "export.preview_size": 96,
        },
    )


def draw_lizard(phase: float, size: int = 160) -> Image.Image:
    """A striped body with a tail that swings, on transparent ground."""
    image = Image.new("RGBA", (4 * size, 3 * size), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.ellipse((1.1 * size, 0.9 * size, 2.9 * size, 2.1 * size), fill=(70, 150, 80, 255))
    for k in range(5):
        x = (1.35 + 0.3 * k) * size
        draw.rectangle((x, 1.2 * size, x + 0.1 * size, 1.8 * size), fill=(230, 200, 90, 255))
    swing = 0.35 * math.sin(2 * math.pi * phase)
    end = (3.7 * size, (1.5 + swing) * size)
    draw.line(((2.7 * size, 1.5 * size), end), fill=(60, 120, 70, 255), width=int(0.35 * size))
    draw.ellipse((1.3 * size, 1.15 * size, 1.5 * size, 1.35 * size), fill=(20, 20, 20, 255))
    return image.resize((size, 3 * size // 4), Image.Resampling.LANCZOS)


def draw_frames(folder: Path, frames: int, size: int) -> Path:
    """A new folder of RGBA frames, ``size`` wide, of a lizard that swings its tail through a third of its way."""
    folder.mkdir()
    for index in range(frames):
        draw_lizard(index / (3 * frames), size).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def lizard(tmp_path_factory) -> Path:
    """A folder of five RGBA frames, wider than high."""
    folder = tmp_path_factory.mktemp("clips") / "lizard"
    folder.mkdir()
    for index in range(CLIP_FRAMES):
        draw_lizard(index / (2 * CLIP_FRAMES)).save(folder / f"{index:03d}.png")
    return folder


@pytest.fixture(scope="session")
def finished(lizard, tmp_path_factory):
    """(events, output folder, settings) of one whole run."""
    from v2m4.pipeline import reconstruct

    output = tmp_path_factory.mktemp("runs") / "lizard"
    settings = little_settings()
    return list(reconstruct(lizard, settings, output)), output, settings


def alpha_of(path: Path) -> np.ndarray:
    """The alpha channel of a PNG."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGBA"))[..., 3]


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks take the place of released ones, so that no weights are looked for before a run."""
    monkeypatch.setattr("v2m4.provision.needed", lambda recipe, stages: [])


@pytest.fixture
def tiny_trellis(monkeypatch: pytest.MonkeyPatch, stand_ins: None) -> None:
    """TRELLIS with tiny random networks, a known mesh standing in for the rubbish that those decode, and small image
    distances for its refinement."""
    from tests.generators.trellis.known import KnownTrellis
    from v2m4.generators import GENERATORS, GeneratorPlug

    real = GENERATORS["trellis"]
    plug = GeneratorPlug(
        "generator", "trellis", "tests.generators.trellis.known:KnownTrellis", real.summary, real.licence, True,
        refinable=real.refinable,
    )  # fmt: skip
    monkeypatch.setitem(GENERATORS, "trellis", plug)
    monkeypatch.setattr("v2m4.stages.refinement.load_perceptuals", lambda *_: KnownTrellis.DISTANCES)
