"""What a visitor does with the page, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.ui.conftest import CLIP, Served

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.xdist_group("browser")]
NEW_FITS = (
    "old => [...document.querySelectorAll('#film .pair figure:nth-child(2) img')]"
    ".filter(image => !old.includes(image.src)).length >= 3"
)


def upload(tab: Any, path: Path) -> None:
    tab.set_input_files("#video input[type=file]", str(path))


def start(tab: Any) -> None:
    tab.wait_for_selector("#strip figure.anchor img", timeout=60_000)
    tab.click("#start")
    tab.wait_for_selector("#status .working", timeout=30_000)


def test_from_upload_to_a_moving_model(tab: Any, tmp_path: Path) -> None:
    tab.wait_for_selector("#film .pair img", timeout=30_000)
    of_the_example = tab.eval_on_selector_all("#film img", "images => images.map(image => image.src)")
    upload(tab, CLIP)
    start(tab)
    tab.wait_for_function(NEW_FITS, arg=of_the_example, timeout=90_000)
    tab.wait_for_selector("#status .finished", timeout=120_000)
    canvas = tab.wait_for_selector("#model canvas", timeout=30_000)
    tab.wait_for_timeout(3000)
    before = canvas.screenshot()
    pictures = []
    for _ in range(3):
        tab.wait_for_timeout(350)
        pictures.append(canvas.screenshot())
    assert any(picture != before for picture in pictures)

    with tab.expect_download(timeout=30_000) as waiting:
        tab.click("#download-glb")
    saved = tmp_path / "model.glb"
    waiting.value.save_as(saved)
    assert waiting.value.suggested_filename == "bird.glb"
    data = saved.read_bytes()
    assert data[:4] == b"glTF"
    length = int.from_bytes(data[12:16], "little")
    document = json.loads(data[20 : 20 + length])
    assert len(document["animations"]) == 1 and document["meshes"][0]["primitives"][0]["targets"]

    link = tab.url
    assert "run=" in link
    tab.goto("about:blank")
    tab.goto(link)
    tab.wait_for_selector("#status .finished", timeout=30_000)


def test_stop_and_continue(tab: Any) -> None:
    upload(tab, CLIP)
    start(tab)
    tab.click("#stop", timeout=20_000)
    tab.wait_for_selector("#status .stopped", timeout=20_000)
    tab.click("#continue", timeout=10_000)
    tab.wait_for_selector("#status .finished", timeout=120_000)


def test_an_example_is_shown_at_one_click(tab: Any) -> None:
    tab.click("#example-octopus")
    tab.wait_for_function("document.querySelector('#status .detail').innerText.includes('octopus')", timeout=30_000)
    tab.wait_for_selector("#model canvas", timeout=30_000)
    assert tab.eval_on_selector_all("#film img", "all => all.every(i => i.alt.length > 0)")


def test_problems_stand_beside_the_upload(tab: Any, tmp_path: Path) -> None:
    text = tmp_path / "note.mp4"
    text.write_text("not a video at all")
    upload(tab, text)
    tab.wait_for_selector("#strip .problem", timeout=20_000)
    assert "note.mp4" in tab.inner_text("#strip .problem")


def test_a_large_file_is_refused_with_the_limit(tab: Any, tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    large.write_bytes(b"\0" * 3_000_000)
    upload(tab, large)
    tab.wait_for_selector("text=maximum allowed size", timeout=20_000)
    assert "2 MB" in tab.inner_text("body")


@pytest.mark.parametrize("width", [390, 1600])
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_nothing_sticks_out(browser: Any, served: Served, width: int, mode: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(f"{served.url}?__theme={mode}")
    page.wait_for_selector("#film img", timeout=30_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_two_visitors_at_once(browser: Any, served: Served) -> None:
    tabs = []
    for name in ("bird", "dinosaur"):
        page = browser.new_context(viewport={"width": 1200, "height": 900}).new_page()
        page.goto(served.url)
        page.wait_for_selector("#start")
        upload(page, CLIP.with_name(f"{name}.mp4"))
        tabs.append(page)
    for page in tabs:
        start(page)
    for page, name in zip(tabs, ("bird", "dinosaur"), strict=True):
        page.wait_for_selector("#status .finished", timeout=150_000)
        run = page.url.split("run=")[1].split("&")[0]
        assert served.store.find(run).source.stem == name
        page.context.close()
