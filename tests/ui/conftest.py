"""One page with small limits, served for the tests of this folder and of tests/browser."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from v2m4.ui.limits import Limits
from v2m4.ui.store import Store

EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
CLIP = EXAMPLES / "bird.mp4"


@dataclass
class Served:
    """A page that runs: its address and the store behind it."""

    url: str
    store: Store


def serve(folder: Path) -> Iterator[Served]:
    """Serve the page with runs under ``folder``; the draft preset is chosen, uploads stop at 2 MB."""
    from v2m4.ui.page import build_page
    from v2m4.ui.theme import CSS, theme

    limits = Limits(megabytes=2)
    store = Store(folder / "runs")
    demo = build_page(limits, store, preset="draft")
    _, url, _ = demo.launch(
        theme=theme(),
        css_paths=[CSS],
        ssr_mode=False,
        prevent_thread_lock=True,
        quiet=True,
        max_file_size="2mb",
        mcp_server=True,
        server_port=free_port(),
    )
    yield Served(url, store)
    demo.close()


def free_port() -> int:
    """A port of our own: several test processes that look for the same default port at once can both find it free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("page"))
