"""One page with small limits and a small clip, served for the tests of this folder and of tests/browser."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import draw_lizard
from v2m4.export.video import VideoWriter
from v2m4.ui.limits import Limits
from v2m4.ui.store import Store

EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
FRAMES = 9
LIMITS = Limits(megabytes=2, frames=40, runs_per_visitor=2)


@dataclass
class Served:
    """A page that runs: its address, the store behind it, and a clip to give it."""

    url: str
    store: Store
    clip: Path


def write_clip(path: Path, *, frames: int = FRAMES, size: int = 160, fps: float = 12.0) -> Path:
    """A lizard that wags its tail before a plain background, as a video file."""
    times = [i / fps for i in range(frames)]
    with VideoWriter(path, times, frames / fps) as writer:
        for i in range(frames):
            picture = np.asarray(draw_lizard(i / (2 * frames), size)).astype(np.float32)
            alpha = picture[..., 3:] / 255
            writer.add((picture[..., :3] * alpha + np.array([196, 205, 214]) * (1 - alpha)).round().astype(np.uint8))
    return path


def serve(folder: Path, limits: Limits = LIMITS, port: int | None = None) -> Iterator[Served]:
    """Serve the page with runs under ``folder``; the draft preset is chosen."""
    from v2m4.ui.page import build_page, launch_options

    store = Store(folder / "runs")
    demo = build_page(limits, store, preset="draft")
    _, url, _ = demo.launch(
        **launch_options(limits), prevent_thread_lock=True, quiet=True, server_port=port or free_port()
    )
    yield Served(url, store, write_clip(folder / "lizard.mp4"))
    demo.close()


def free_port() -> int:
    """A port of our own: several test processes that look for the same default port at once can both find it free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("page"))
