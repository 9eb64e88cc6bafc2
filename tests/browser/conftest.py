"""The page in a real browser: Chromium with software rendering."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ui.conftest import Served, serve

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=executable, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visitor(browser: Any, served: Served) -> Iterator[Callable[..., Any]]:
    """Makes a visitor with a browser of their own: ``visitor(address, width, height)`` returns the opened page.

    At the end no page may have complained: neither an error in the browser nor a failed request to the server.
    """
    contexts, complaints = [], []

    def arrive(url: str = "", width: int = 1440, height: int = 900) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda r: complaints.append(f"{r.status} {r.url}") if r.status >= 500 else None)
        page.goto(url or served.url)
        page.wait_for_selector("#viewer .stage[data-loaded], #status .status:not(.empty)")
        return page

    yield arrive
    for context in contexts:
        context.close()
    assert not complaints


def audit(page: Any) -> None:
    """Assert that axe-core finds nothing serious on the page as it is, in light and in dark.

    Without axe-core the rest of a test still counts; `test_axe_core_is_installed` then says that it was left out.
    """
    if not AXE.is_file():
        return
    page.evaluate(AXE.read_text())
    for dark in (True, False):
        page.evaluate("dark => document.body.classList.toggle('dark', dark)", dark)
        page.wait_for_function("document.getAnimations().every(a => a.playState !== 'running')")  # colours fade
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        wrong = [(v["id"], [n["html"] for n in v["nodes"]]) for v in found if v["impact"] in SERIOUS]
        assert not wrong, f"{'dark' if dark else 'light'}: {wrong}"
