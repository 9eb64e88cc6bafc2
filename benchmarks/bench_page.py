"""How soon the page shows something in a real browser: from the upload to an outline, from the button to a model.

    python -m benchmarks.bench_page [CLIP ...]

Without clips: the shipped examples. Each is given twice, since the first loads and compiles what later ones find ready.
Chromium, which must be installed, runs beside the server on the same machine; wants the extra `dev`. Goals on two idle
cores: the first outline within 5 s after the upload, the first model within 3 s after the button. The load of the
machine is told with the numbers.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from v2m4.errors import V2M4Error
from v2m4.settings import Settings
from v2m4.ui.limits import Limits
from v2m4.ui.page import WARMED_BY, build_page, launch_options
from v2m4.ui.runner import warm_up
from v2m4.ui.store import Store

EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
WAITS_S = 180
OUTLINE, MODEL = 5.0, 3.0
STRIP = "[...document.querySelectorAll('v2m4-mask .cards img')].map(image => image.src)"
SHOWN = "[...document.querySelectorAll('v2m4-mask .cards img')].every(image => image.complete && image.naturalWidth)"


@contextmanager
def served(limits: Limits) -> Any:
    """The page's address, with runs in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        demo = build_page(limits, Store(Path(folder)))
        _, address, _ = demo.launch(**launch_options(limits), prevent_thread_lock=True, quiet=True)
        warm_up(Settings.of("fast"), WARMED_BY).join()
        yield address
        demo.close()


def measured(page: Any, clip: Path) -> dict[str, float]:
    """Seconds of one visit: to the strip of frames, to the first outline in it, to all of them; from the button to the
    first model that the viewer shows."""
    page.wait_for_selector(".stage[data-loaded]")
    found: dict[str, float] = {}
    since = time.monotonic()

    def passed(name: str, wait: Callable[[], Any]) -> None:
        wait()
        found[name] = time.monotonic() - since

    page.set_input_files("#video input[type=file]", str(clip))
    passed("frames", lambda: page.wait_for_selector("v2m4-mask .cards img"))
    first = page.evaluate(STRIP)
    passed(
        "outline",
        lambda: page.wait_for_function(f"old => {SHOWN} && {STRIP}.some(src => !old.includes(src))", arg=first),
    )
    passed("all outlines", lambda: page.wait_for_selector("#status .ready"))
    page.wait_for_selector("v2m4-mask [data-frame]")
    since = time.monotonic()
    page.click("#start")
    passed("progress", lambda: page.wait_for_selector("#status .working"))
    passed("model", lambda: page.wait_for_function("document.querySelector('v2m4-viewer').stage.model"))
    page.click("#stop")
    page.wait_for_selector("#status .stopped")
    return found


def main() -> None:
    """Print the seconds of every clip, first and second time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, default=sorted(EXAMPLES.glob("*.mp4")))
    clips: list[Path] = parser.parse_args().clips
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        raise V2M4Error("There is no Chromium on this machine. Install it.")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    missed = 0
    with served(Limits(seconds=60.0)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        for clip in clips:
            for turn in ("first", "again"):
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                page.set_default_timeout(1000 * WAITS_S)
                page.goto(address)
                found = measured(page, clip)
                page.context.close()
                missed += found["outline"] > OUTLINE or found["model"] > MODEL
                print(clip.stem, turn, *(f"{name} {seconds:.2f} s" for name, seconds in found.items()), sep=", ")
    print(f"load {os.getloadavg()[0]:.1f}; {missed} of {2 * len(clips)} visits missed a goal")


if __name__ == "__main__":
    main()
