"""What a visitor does with the page, in a real browser."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser.conftest import AXE, audit
from tests.conftest import draw_lizard
from tests.formats.gltf.features import FEATURES
from tests.formats.gltf.three import corners_of
from tests.test_video import write_video
from tests.ui.conftest import Served, free_port, write_clip
from v2m4 import pipeline
from v2m4.artefacts import finished_run
from v2m4.events import Event
from v2m4.formats.gltf.scene import read_scene
from v2m4.geometry.camera import Camera
from v2m4.render.pictures import render_rgba
from v2m4.run import Run, Step
from v2m4.ui import panels, runner
from v2m4.ui.controls import Asked
from v2m4.ui.run_view import RunView
from v2m4.ui.workers import Workers
from v2m4.workbench import Workbench

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.xdist_group("browser")]
Visitor = Callable[..., Any]
FRACTION = "#status .status"
STAGE = "document.querySelector('v2m4-viewer').stage"


def upload(page: Any, path: Path) -> None:
    page.set_input_files("#video input[type=file]", str(path))


def look(page: Any, path: Path) -> None:
    """Upload, and wait for the masks."""
    upload(page, path)
    page.wait_for_selector("v2m4-mask [data-frame]")
    page.wait_for_selector("#status .ready")


def unfold(page: Any, fold: str) -> None:
    """Open a fold, and wait until its inputs hold what they shall: the framework makes them only then, and writes their
    values once more at the animation frame after that, over whatever was typed meanwhile."""
    page.click(f"{fold} button.label-wrap")
    page.wait_for_function(
        """fold => { const all = [...document.querySelectorAll(`${fold} :is(input[type=number], textarea)`)]
        .filter(input => !input.closest('v2m4-settings')); return all.length && all.every(input => input.value); }""",
        arg=fold,
    )
    for _ in range(3):
        page.evaluate("new Promise(resolve => requestAnimationFrame(() => requestIdleCallback(resolve)))")


def finish(page: Any) -> list[float]:
    """Wait for the run's end; returns the fractions shown on the way, and the last."""
    shown = []
    while page.query_selector("#status .finished") is None:
        shown.append(float(page.get_attribute(FRACTION, "data-fraction")))
        assert page.query_selector("#status .failed") is None, page.inner_text("#status")
        page.wait_for_timeout(100)
    return [*shown, float(page.get_attribute(FRACTION, "data-fraction"))]


def loaded(page: Any) -> None:
    """Wait until the viewer shows the finished animation."""
    page.wait_for_selector(".stage.comparing[data-loaded]")
    page.wait_for_function(f"{STAGE}.facts.preview && {STAGE}.root.dataset.loaded === {STAGE}.facts.src")


def answers_of(page: Any) -> Callable[[], None]:
    """Waits, whenever it is called, until the server has answered all that the page asked, and nothing more was asked
    upon it."""
    asked: set[Any] = set()
    page.on("request", lambda request: asked.add(request) if "/gradio_api/run/" in request.url else None)
    for event in ("requestfinished", "requestfailed"):
        page.on(event, lambda request: asked.discard(request))

    def wait() -> None:
        quiet = 0
        while quiet < 4:
            page.wait_for_timeout(50)
            quiet = 0 if asked else quiet + 1

    return wait


def brought_into_view(page: Any, selector: str) -> None:
    """Wait until all of it is on the screen, and nothing of the page reaches beyond the screen's sides."""
    page.wait_for_function(
        """selector => { const box = document.querySelector(selector)?.getBoundingClientRect();
        return box?.height > 0 && box.top >= 0 && box.bottom <= innerHeight; }""",
        arg=selector,
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def in_view(page: Any, selector: str) -> bool:
    box = page.locator(selector).bounding_box()
    return box is not None and box["y"] >= 0 and box["y"] + box["height"] <= page.viewport_size["height"]


def alpha(data_url: str) -> np.ndarray:
    """(S,S) whether each pixel of a PNG is covered."""
    with Image.open(io.BytesIO(base64.b64decode(data_url.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGBA"))[..., 3] > 127


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Until this is set, at the latest at the end of the test, runs stay at their texture, however fast the machine is;
    a stop gets through."""
    going_on = threading.Event()

    def execute(run: Run, step: Step, bench: Workbench) -> Iterator[Event]:
        while step.stage == "texture" and not going_on.wait(0.1) and not run.stop_requested():
            yield pipeline.progress(run, step, 0.0)
        yield from pipeline.execute(run, step, bench)

    monkeypatch.setattr(runner, "execute", execute)
    yield going_on
    going_on.set()  # a run that nobody stopped would hold up the next test's


def test_axe_core_is_installed() -> None:
    if not AXE.is_file():
        pytest.skip("nothing is said about accessibility: run npm ci in tests/")


def test_from_upload_to_a_model_that_plays_and_scrubs(
    visitor: Visitor, served: Served, held: threading.Event, tmp_path: Path
) -> None:
    page = visitor()
    assert in_view(page, "#start")
    look(page, served.clip)
    assert page.query_selector("#downloads a") is None  # the example's result is gone with its clip
    audit(page)
    page.click("#start")
    page.wait_for_selector("#status .working, #status .waiting")
    page.wait_for_function("document.querySelector('#status').getBoundingClientRect().top >= 0")
    page.wait_for_function(f"Number(document.querySelector('{FRACTION}').dataset.fraction) > 0")
    on_the_way = float(page.get_attribute(FRACTION, "data-fraction"))
    held.set()
    fractions = [on_the_way, *finish(page)]
    assert fractions == sorted(fractions) and 0 < fractions[0] < fractions[-1] == 1
    loaded(page)

    # It plays, and pause pauses.
    page.wait_for_selector('.stage[data-playing="true"]')
    page.click(".stage .play")
    page.wait_for_selector('.stage[data-playing="false"]')
    before = page.get_attribute(".stage", "data-time")
    page.wait_for_timeout(400)
    assert page.get_attribute(".stage", "data-time") == before

    # Scrubbed to a keyframe it shows what our own renderer shows of that time.
    animation, _ = finished_run(served.store.root / page.url.split("run=")[1].split("&")[0])
    time_s = animation.times[-2]
    page.locator(".stage .scrub").fill(f"{time_s:.3f}")
    assert abs(float(page.get_attribute(".stage", "data-time")) - time_s) < 2e-3
    shown = alpha(page.evaluate(f"{STAGE}.snapshot(160)"))
    ours = render_rgba(animation.mesh_at(time_s), Camera.identity(), 160)[..., 3] > 127
    assert (shown & ours).sum() / (shown | ours).sum() >= 0.9

    # The video follows, and the halves are compared.
    at_rest = f"{STAGE}.video.readyState > 1 && !{STAGE}.video.seeking"
    page.wait_for_function(f"{at_rest} && Math.abs({STAGE}.video.currentTime - {time_s}) < 0.05")
    page.locator(".stage .split").fill("100")
    whole = page.evaluate(f"{STAGE}.picture.toDataURL()")
    page.locator(".stage .split").fill("0")
    page.wait_for_function(f"whole => {STAGE}.picture.toDataURL() !== whole", arg=whole)

    # A point of the plot jumps to its frame; every surface is shown.
    page.locator(".plot .hits rect").nth(1).click()
    assert float(page.get_attribute(".stage", "data-time")) == pytest.approx(1 / 12, abs=2e-3)
    pictures = set()
    for surface in ("textured", "clay", "normals", "wireframe"):
        page.select_option(".stage .surface", surface)
        pictures.add(page.evaluate(f"{STAGE}.snapshot(64)"))
    assert len(pictures) == 4
    audit(page)

    with page.expect_download() as waiting:
        page.click("#download-glb")
    waiting.value.save_as(tmp_path / "model.glb")
    assert waiting.value.suggested_filename == "lizard.glb"
    data = (tmp_path / "model.glb").read_bytes()
    document = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    assert len(document["animations"]) == 1 and document["meshes"][0]["primitives"][0]["targets"]
    assert "KHR_materials_unlit" in document["extensionsUsed"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (None, "Choose a video"),
        (lambda path: path.write_text("no video"), "odd.mp4"),
        (lambda path: write_video(path, [np.zeros((64, 64, 3), np.uint8)]), "nothing moves"),
    ],
    ids=["none", "a text", "a single picture"],
)
def test_without_a_proper_video_the_button_answers_beside_it(
    visitor: Visitor, make: Callable[[Path], Any] | None, words: str, tmp_path: Path
) -> None:
    page = visitor(width=390, height=844)
    if make is not None:
        make(tmp_path / "odd.mp4")
        upload(page, tmp_path / "odd.mp4")
        page.wait_for_selector("#note-video .problem")  # said at once, before anything is pressed
    page.click("#start")
    page.wait_for_selector("#note-video .problem")
    assert words in page.inner_text("#note-video")
    assert page.query_selector("#status .working") is None
    brought_into_view(page, "#note-video .problem")
    audit(page)


WRONG_NUMBERS = {
    "To (s), 0: end": ("-1", "“To” must be from"),
    "From (s)": ("1e308", "“From” must be from"),
    "Every n-th frame": ("5000", "“Every n-th frame” must be from"),
    "Keyframe gap, 0: auto": ("-2", "“Keyframe gap” must be from"),
}
WRONG_CHANGES = {
    "{": "not valid JSON",
    '{"device": "cuda"}': "cannot be changed here",
    '{"texture": {"size": 1000000}}': "texture.size must be from",
    '{"textur": {}}': "no entry",
}


def test_wrong_settings_are_answered_where_they_stand(visitor: Visitor, served: Served) -> None:
    page = visitor(width=390, height=844)
    answered = answers_of(page)
    look(page, served.clip)

    def begun() -> set[Path]:
        return set(served.store.root.glob("*/begun"))

    before = begun()

    def press(place: str, words: str) -> None:
        # What was typed is answered with the same sentence, maybe before the press is.
        page.click("#start")
        answered()
        page.wait_for_function(
            "([place, words]) => document.querySelector(`${place} .problem`)?.innerText.includes(words)",
            arg=[place, words],
        )
        brought_into_view(page, f"{place} .problem")
        assert begun() == before

    unfold(page, "#advanced")
    for text, words in WRONG_CHANGES.items():
        page.locator("#changes textarea").fill(text)
        press("#note-changes", words)
    audit(page)
    page.locator("#changes textarea").fill("{}")
    unfold(page, "#fold-part")
    for label, (value, words) in WRONG_NUMBERS.items():
        box = page.locator("#fold-part").get_by_label(label)
        good = box.input_value()
        box.fill(value)
        press("#note-part", words)
        box.fill(good)
    audit(page)


def test_the_late_answer_to_an_input_takes_back_nothing_that_a_press_was_told(
    visitor: Visitor, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visitor()
    look(page, served.clip)
    unfold(page, "#fold-part")
    answered = answers_of(page)
    submit, begun, going_on = Workers.submit, threading.Event(), threading.Event()

    def slow(workers: Workers, *work: Any) -> Any:
        begun.set()
        going_on.wait(60)
        return submit(workers, *work)

    monkeypatch.setattr(Workers, "submit", slow)
    page.get_by_label("Keyframe gap, 0: auto").fill("4")
    while not begun.is_set():
        page.wait_for_timeout(50)
    page.get_by_label("To (s), 0: end").fill("-1")
    page.click("#start")
    page.wait_for_selector("#note-part .problem >> text=“To” must be from")
    going_on.set()
    answered()
    assert "“To” must be from" in page.inner_text("#note-part .problem")


def test_what_nobody_foresaw_is_a_sentence_with_a_name_that_the_log_has(
    visitor: Visitor, served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    page = visitor()
    look(page, served.clip)
    with monkeypatch.context() as broken:
        broken.setattr(Asked, "settings", lambda asked: 1 // 0)
        page.click("#start")
        page.wait_for_selector("#note-start .problem >> text=ZeroDivisionError")
    name = page.inner_text("#note-start").split("report it as “")[1].split("”")[0]
    assert f"mishap {name}" in caplog.text and "Traceback" in caplog.text


@contextmanager
def slow_server(page: Any) -> Iterator[None]:
    """Within this the server answers nothing; what was asked meanwhile reaches it at the end."""
    asked, address = [], "**/gradio_api/run/**"
    over = False
    page.route(address, lambda route: route.continue_() if over else asked.append(route))
    yield
    over = True
    for route in asked:
        route.continue_()


def begins(request: Any, changes: str) -> bool:
    """Whether a request is a press of Reconstruct, or another event with all that was asked, with these changes."""
    data = (request.post_data_json or {}).get("data", ()) if "/gradio_api/run/" in request.url else ()
    return len(data) > 5 and changes in data


def test_a_press_counts_while_the_one_before_it_is_still_answered(
    visitor: Visitor, served: Served, held: threading.Event
) -> None:
    page = visitor()
    answered: list[Any] = []
    page.on("response", lambda r: answered.append(r) if begins(r.request, "{}") else None)
    look(page, served.clip)
    unfold(page, "#advanced")
    text = page.locator("#changes textarea")
    before = set(served.store.root.glob("*/begun"))

    def press(changes: str) -> None:
        text.fill(changes)
        with page.expect_request(lambda request: begins(request, changes)):
            page.click("#start")

    with slow_server(page):
        press("{")
        page.click("#start")
        text.fill('{"textur": {}}')
        page.click("#start")
    page.wait_for_selector("#note-changes .problem >> text=no entry")
    del answered[:]
    with slow_server(page):
        press("{}")
        page.click("#start")
        page.click("#start")
    while len(answered) < 2:  # the first press, and the last one
        page.wait_for_timeout(50)
    held.set()
    finish(page)
    assert len(set(served.store.root.glob("*/begun")) - before) == 1  # one run, not three


def test_a_number_typed_under_advanced_counts_at_a_press_however_slow_the_server_is(
    visitor: Visitor, served: Served, held: threading.Event
) -> None:
    page = visitor()
    look(page, served.clip)
    unfold(page, "#advanced")
    page.get_by_label("Find a setting").fill("texels")
    number = page.get_by_label("Texture / size", exact=True)
    assert number.input_value() == "512"  # draft's
    number.fill("9")
    assert "from 16 to 8192" in page.inner_text("v2m4-settings .setting.changed .problem")
    with slow_server(page):
        number.fill("96")
        with page.expect_request(lambda request: begins(request, '{"texture":{"size":96}}')):
            page.click("#start")
    page.wait_for_selector("#status .working")
    record = served.store.find(page.url.split("run=")[1].split("&")[0])
    assert record.asked.texture.size == 96

    # What is changed is shown alone, and taken back.
    page.get_by_label("Find a setting").fill("")
    page.get_by_label("Only what is changed (1)").check()
    assert page.locator("v2m4-settings .setting").count() == 1
    page.wait_for_function(f"Number(document.querySelector('{FRACTION}').dataset.fraction) > 0.2")
    audit(page)  # a run under way
    page.click("v2m4-settings .setting >> text=Back to 512")
    assert page.locator("#changes textarea").input_value() == "{}"
    page.click("#stop")
    page.wait_for_selector("#status .stopped")


def test_sections_of_the_settings_unfold(visitor: Visitor) -> None:
    page = visitor()
    unfold(page, "#advanced")
    page.click("v2m4-settings summary >> text=Registration")
    page.click("v2m4-settings details[open] details summary >> text=Video")
    page.get_by_label("Rounds", exact=True).fill("3")
    assert json.loads(page.locator("#changes textarea").input_value()) == {"registration": {"video": {"rounds": 3}}}
    page.locator("#changes textarea").fill('{"export": {"preview": false}}')
    page.get_by_label("Find a setting").fill("side by side")
    assert not page.locator("v2m4-settings .setting.changed input").is_checked()
    audit(page)
    page.locator("#changes textarea").fill("{")
    page.wait_for_selector("v2m4-settings >> text=no valid JSON")


def test_the_simpler_viewer_comes_up(visitor: Visitor) -> None:
    page = visitor()
    page.click("#other button.label-wrap")
    page.click("#other button >> text=Open it")
    canvas = page.locator("#other canvas")
    canvas.wait_for()
    for _ in range(60):
        with Image.open(io.BytesIO(canvas.screenshot())) as image:
            pixels = np.asarray(image.convert("RGB")).astype(int).reshape(-1, 3)
        if (np.abs(pixels - np.median(pixels, axis=0)).max(-1) > 40).mean() > 0.02:
            return
        page.wait_for_timeout(300)
    raise AssertionError("nothing is drawn")


@pytest.mark.parametrize("dropped", [False, True], ids=["chosen", "dropped on the video"])
def test_an_animated_picture_is_taken_with_its_transparency(
    visitor: Visitor, served: Served, tmp_path: Path, dropped: bool
) -> None:
    pictures = [Image.fromarray(np.asarray(draw_lizard(i / 10, 128))) for i in range(5)]
    pictures[0].save(
        tmp_path / "moving.gif", save_all=True, append_images=pictures[1:], duration=80, loop=0, disposal=2
    )
    page = visitor()
    if dropped:
        data = base64.b64encode((tmp_path / "moving.gif").read_bytes()).decode()
        page.evaluate(
            """data => { const carried = new DataTransfer(), bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
            carried.items.add(new File([bytes], "moving.gif", {type: "image/gif"}));
            document.querySelector("#video button").dispatchEvent(
                new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true})); }""",
            data,
        )
    else:
        page.set_input_files("#limits input[type=file]", str(tmp_path / "moving.gif"))
    page.wait_for_selector("v2m4-mask [data-frame]")
    page.wait_for_selector("#status .ready")
    page.wait_for_function("document.querySelector('#video video').videoWidth > 0")  # the browser plays what was made
    record = served.store.find(page.url.split("run=")[1].split("&")[0])
    assert record.source.name == "moving.webm" and "alpha" in (page.text_content("#before table") or "")


def test_a_zip_without_pictures_is_refused_beside_the_video(visitor: Visitor, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "notes.zip", "w") as archive:
        archive.writestr("notes.txt", "no pictures")
    page = visitor()
    page.set_input_files("#limits input[type=file]", str(tmp_path / "notes.zip"))
    page.wait_for_selector("#note-video .problem")
    assert "notes.zip" in page.inner_text("#note-video")


def test_a_large_file_is_refused_with_the_limit(visitor: Visitor, served: Served, tmp_path: Path) -> None:
    page = visitor(width=390, height=844)
    large = tmp_path / "large.mp4"
    large.write_bytes(b"\0" * 3_000_000)
    upload(page, large)
    page.wait_for_selector("text=maximum allowed size")
    page.wait_for_selector("#note-video .problem >> text=large.mp4 has 3 MB, more than the 2 MB")
    audit(page)
    page.evaluate("document.querySelector('.toast-close')?.click()")  # it also goes by itself after some seconds
    brought_into_view(page, "#note-video .problem")
    look(page, served.clip)
    assert page.query_selector("#note-video .problem") is None


def test_a_click_mends_the_mask_and_undo_takes_it_back(visitor: Visitor, served: Served) -> None:
    page = visitor()
    look(page, served.clip)
    page.wait_for_selector("v2m4-mask .main")
    other = page.locator("v2m4-mask [data-frame]:not(:has(.main))").first
    frame = other.get_attribute("data-frame")
    other.click()
    picture = page.locator("v2m4-mask .canvas img")
    before = picture.get_attribute("src")
    page.click("v2m4-mask .sign.minus")
    box = picture.bounding_box()
    picture.click(position={"x": 0.83 * box["width"], "y": 0.5 * box["height"]})  # the tail
    page.wait_for_function(
        "old => document.querySelector('v2m4-mask .canvas img')?.getAttribute('src') !== old", arg=before
    )
    page.wait_for_selector("#status .ready")
    record = served.store.find(page.url.split("run=")[1].split("&")[0])
    assert " -" in record.asked.matting.points
    page.wait_for_selector("v2m4-mask .undo:enabled")
    page.click("v2m4-mask .undo")
    page.wait_for_function(
        "old => document.querySelector('v2m4-mask .canvas img')?.getAttribute('src') === old", arg=before
    )
    page.click("v2m4-mask .anchor")
    page.wait_for_selector(f"v2m4-mask [data-frame='{frame}'] .main")


def test_a_run_is_the_servers_any_tab_follows_it_and_others_may_look(
    visitor: Visitor, served: Served, held: threading.Event, tmp_path: Path
) -> None:
    first = visitor()
    look(first, write_clip(tmp_path / "long.mp4", frames=5, size=64))
    unfold(first, "#fold-settings")
    first.get_by_label("Seed").first.fill("7")
    link = first.url
    second = visitor(link)
    second.wait_for_selector("#status .ready")
    first.click("#start")
    first.wait_for_selector("#status .working")
    second.wait_for_selector("#status .working")
    audit(second)
    first.reload()  # in mid-run
    first.wait_for_selector("#status .working")
    second.click("#stop")
    for page in (first, second):
        page.wait_for_selector("#status .stopped")
    first.wait_for_selector("#video video")
    unfold(first, "#fold-settings")
    first.wait_for_function("value => [...document.querySelectorAll('input')].some(i => i.value === value)", arg="7")
    assert first.get_by_label("Seed").first.input_value() == "7"
    fraction = float(second.get_attribute(FRACTION, "data-fraction"))
    first.context.close()
    second.reload()
    second.wait_for_selector("#status .stopped")
    assert float(second.get_attribute(FRACTION, "data-fraction")) == pytest.approx(fraction, abs=0.15)
    audit(second)
    held.set()
    second.click("#continue")
    finish(second)

    shown = second.get_attribute("[data-copy^='?view=']", "data-copy")
    third = visitor(f"{served.url}{shown}")
    loaded(third)
    assert not third.is_visible("#work") and third.query_selector("[data-copy^='?run=']") is None
    assert third.query_selector_all("#downloads a")
    audit(third)


def test_waiting_and_stopping_on_a_phone(visitor: Visitor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    release = threading.Event()

    def execute(run: Run, step: Step, bench: Workbench) -> Iterator[Event]:
        while step.stage == "texture" and not release.wait(0.1):  # a step that hears of a stop late
            yield pipeline.progress(run, step, 0.0)
        yield from pipeline.execute(run, step, bench)

    monkeypatch.setattr(runner, "execute", execute)
    pages = []
    for number in range(3):  # one more than work at once
        page = visitor(width=390, height=844)
        page.set_extra_http_headers({"x-forwarded-for": f"192.0.2.{number}"})
        look(page, write_clip(tmp_path / f"{number}.mp4", frames=5, size=64))
        page.click("#start")
        page.wait_for_selector(f"#status .{'waiting' if number == 2 else 'working'}")
        pages.append(page)
    working, _, waiting = pages
    assert "Place 1 in the queue" in waiting.inner_text("#status")
    audit(waiting)
    waiting.click("#stop")
    waiting.wait_for_selector("#status .stopped >> text=Taken out of the queue")
    working.click("#stop")
    working.wait_for_selector("#stop >> text=Stopping")
    assert not working.is_enabled("#stop")
    audit(working)
    release.set()
    working.wait_for_selector("#status .stopped")
    audit(working)
    pages[1].wait_for_selector("#status .finished")


def test_two_visitors_at_once_and_deleting_a_run(visitor: Visitor, served: Served, tmp_path: Path) -> None:
    pages = {}
    for name in ("one", "two"):
        pages[name] = visitor()
        look(pages[name], write_clip(tmp_path / f"{name}.mp4", frames=5, size=64))
    for page in pages.values():
        page.click("#start")
    for name, page in pages.items():
        finish(page)
        run = page.url.split("run=")[1].split("&")[0]
        assert served.store.find(run).source.stem == name
        assert page.get_attribute("#download-glb", "download") == f"{name}.glb"
    page.on("dialog", lambda dialog: dialog.accept())
    page.click(f"[data-delete='{run}']")
    page.wait_for_function("run => !document.querySelector(`[data-delete='${run}']`)", arg=run)
    assert not served.store.exists(run)


def test_the_whole_way_on_a_phone(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor(width=390, height=844)
    assert in_view(page, "#start")
    for mode in (True, False):
        page.evaluate("dark => document.body.classList.toggle('dark', dark)", mode)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    frames = [picture for _, picture in zip(range(6), _lizard_frames(), strict=False)]
    look(page, write_video(tmp_path / "phone.mov", frames, codec="libx265", rotation=90))
    page.click("#start")
    page.wait_for_function("document.querySelector('#status').getBoundingClientRect().top < innerHeight")
    finish(page)
    loaded(page)
    tops = page.evaluate("['#viewer', '#video'].map(s => document.querySelector(s).getBoundingClientRect().top)")
    assert tops[0] < tops[1]  # what was made comes first now, and is where the visitor looks
    page.wait_for_function("Math.abs(document.querySelector('#status').getBoundingClientRect().top) < 60")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    audit(page)
    with page.expect_download() as waiting:
        page.click("#download-glb")
    assert waiting.value.suggested_filename == "phone.glb"


def _lizard_frames() -> Any:
    for i in range(100):
        rgba = np.asarray(draw_lizard(i / 12, 128)).astype(np.float32)
        share = rgba[..., 3:] / 255
        upright = (rgba[..., :3] * share + 200 * (1 - share)).round().astype(np.uint8)
        yield np.ascontiguousarray(np.rot90(upright, -1))


def test_an_example_is_shown_at_one_click_with_its_clip(visitor: Visitor) -> None:
    page = visitor()
    page.click("#example-octopus")
    page.wait_for_function(f"{STAGE}.facts.name === 'octopus'")
    loaded(page)
    assert "octopus" in page.inner_text("#status")
    page.wait_for_function(f"{STAGE}.video.videoHeight === {STAGE}.picture.height")  # upright, unlike the one before
    page.wait_for_selector("#video video")
    assert page.eval_on_selector_all("#gallery img", "all => all.every(i => i.alt.length > 0)")
    page.click(".stage .around")
    assert page.evaluate(f"{STAGE}.mode") == "free"
    audit(page)


def test_a_skinned_model_is_framed_as_it_stands(visitor: Visitor, tmp_path: Path) -> None:
    path = FEATURES["skin"]().glb(tmp_path / "skin.glb")
    corners = np.concatenate([corners_of(part) for part in read_scene(path).parts])[..., :3].reshape(-1, 3)
    page = visitor()
    page.wait_for_selector(".stage.comparing[data-loaded]")
    source = f"data:model/gltf-binary;base64,{base64.b64encode(path.read_bytes()).decode()}"
    page.evaluate(f"src => {STAGE}.take({{name: 'skin', src}})", source)
    page.wait_for_function(f"src => {STAGE}.root.dataset.loaded === src", arg=source)
    center = page.evaluate(f"{STAGE}.sphere.center.toArray()")
    np.testing.assert_allclose(center, (corners.min(0) + corners.max(0)) / 2, atol=1e-3)
    assert alpha(page.evaluate(f"{STAGE}.snapshot(64)")).any()


def test_a_link_without_a_run_says_so(visitor: Visitor, served: Served) -> None:
    page = visitor(f"{served.url}?run={32 * '0'}")
    page.wait_for_selector("#status .failed")
    assert "no run behind this link" in page.inner_text("#status")
    audit(page)
    waiting = panels.status(RunView(name="clip", run=32 * "0", state="waiting", place=2, wait_s=40))
    page.evaluate("html => { document.querySelector('#status .status').outerHTML = html; }", waiting)
    audit(page)


def test_the_keyboard_reaches_everything_in_the_order_of_work(visitor: Visitor) -> None:
    page = visitor()
    page.wait_for_selector(".stage.comparing[data-loaded]")
    work = ["#video button", "#start", "#example-bird", "#series", "#fold-settings button", "#advanced button"]
    result = [".stage .surface", ".stage .split", ".stage .play", ".stage .scrub", "#download-glb", ".gallery .pair"]
    wanted = work + result
    reached: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached += page.evaluate("all => all.filter(s => document.activeElement.matches(s))", wanted)
    assert list(dict.fromkeys(reached)) == wanted

    page.focus(".stage .play")
    playing = page.get_attribute(".stage", "data-playing")
    page.keyboard.press("Space")
    page.wait_for_function("was => document.querySelector('.stage').dataset.playing !== was", arg=playing)
    page.focus(".stage .scrub")
    page.keyboard.press("End")
    assert page.evaluate(f"{STAGE}.duration - {STAGE}.time < 1e-3 && !{STAGE}.playing")


def test_after_the_server_was_killed_the_page_says_what_to_do(visitor: Visitor, served: Served, tmp_path: Path) -> None:
    port = free_port()
    script = (
        "import sys, time; from pathlib import Path; from tests.ui.conftest import serve; "
        f"page = serve(Path({str(tmp_path)!r}), port={port}); next(page); time.sleep(600)"
    )

    def start() -> subprocess.Popen[bytes]:
        server = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).read()
                return server
            except OSError:
                time.sleep(0.25)
        raise AssertionError("the server did not start")

    server = start()
    try:
        page = visitor(f"http://127.0.0.1:{port}/")
        look(page, served.clip)
        page.click("#start")
        page.wait_for_function("Number(document.querySelector('#status .status').dataset.fraction) > 0.2")
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        server = start()
        # Gradio reloads the page by itself when its server is another, perhaps just now.
        with suppress(pytest.importorskip("playwright.sync_api").Error):
            page.reload()
        page.wait_for_selector("#status .stopped")
        assert "started anew" in page.inner_text("#status")
        page.click("#continue")
        finish(page)
    finally:
        server.kill()
        server.wait()


def test_after_a_lost_network_and_a_sleeping_tab_the_page_goes_on_by_itself(
    visitor: Visitor, served: Served, held: threading.Event
) -> None:
    page = visitor()
    look(page, served.clip)
    page.click("#start")
    page.wait_for_selector("#status .working")
    tab = page.context.new_cdp_session(page)
    tab.send("Page.setWebLifecycleState", {"state": "frozen"})
    time.sleep(2)
    tab.send("Page.setWebLifecycleState", {"state": "active"})
    page.context.set_offline(True)
    page.wait_for_timeout(10_000)
    page.context.set_offline(False)
    held.set()
    page.wait_for_selector("#status .finished")  # perhaps on a page that loaded itself anew
    loaded(page)


@pytest.mark.parametrize(("width", "percent"), [(320, 100), (390, 200)], ids=["small phone", "doubled text"])
def test_nothing_reaches_beyond_the_sides_however_small_the_screen(
    visitor: Visitor, served: Served, width: int, percent: int
) -> None:
    page = visitor(width=width, height=640)
    page.evaluate("percent => { document.documentElement.style.fontSize = `${percent}%`; }", percent)
    page.wait_for_selector(".stage.comparing[data-loaded]")

    def fits() -> bool:
        return page.evaluate("document.documentElement.scrollWidth") <= width

    assert fits()
    look(page, served.clip)
    page.locator("v2m4-mask [data-frame]").first.click()
    page.click("#before summary")
    for fold in ("#fold-settings", "#fold-part", "#fold-mesh", "#advanced"):
        page.click(f"{fold} button.label-wrap")
        assert fits()
    page.wait_for_selector("v2m4-settings input[type=search]")
    assert fits()


def test_a_run_without_a_mouse(visitor: Visitor, served: Served) -> None:
    page = visitor()

    def press(selector: str, key: str = "Enter") -> None:
        """Go to an element by the tabulator alone, and press a key on it."""
        for _ in range(120):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return page.keyboard.press(key)
        raise AssertionError(f"the tabulator does not reach {selector}")

    with page.expect_file_chooser() as chooser:
        press("#video button")
    chooser.value.set_files(str(served.clip))
    page.wait_for_selector("v2m4-mask [data-frame]")
    page.wait_for_selector("#status .ready")
    press("v2m4-mask [data-frame]")
    page.wait_for_selector("v2m4-mask .editor:visible")
    press("v2m4-mask .close")
    page.wait_for_selector("v2m4-mask .editor", state="hidden")
    assert page.evaluate("document.activeElement.matches('v2m4-mask [data-frame]')")  # back where one was
    press("#start")
    page.wait_for_selector("#status .finished")
    loaded(page)
    playing = page.get_attribute(".stage", "data-playing")
    press(".stage .play", "Space")
    page.wait_for_function("was => document.querySelector('.stage').dataset.playing !== was", arg=playing)
    with page.expect_download() as waiting:
        press("#download-glb")
    assert waiting.value.suggested_filename == "lizard.glb"
