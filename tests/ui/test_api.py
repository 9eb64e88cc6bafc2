"""The named endpoints, called as a program calls them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file

from examples.client import reconstruct
from tests.ui.conftest import Served

pytestmark = [pytest.mark.timeout(200), pytest.mark.xdist_group("page")]
PUBLIC = {
    *("/reconstruct", "/continue_run", "/preview_mask", "/run_status", "/stop_run", "/list_plugs"),
    "/default_settings",
}


@pytest.fixture(scope="module")
def client(served: Served) -> Any:
    return Client(served.url, httpx_kwargs={"timeout": 60}, verbose=False)


def test_only_the_documented_endpoints_are_public(client: Any) -> None:
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert set(named) == PUBLIC
    names = {p["parameter_name"] for p in named["/reconstruct"]["parameters"]}
    assert {"video", "preset", "seed", "template", "matting", "changes"} <= names


def test_a_stopped_run_tells_how_far_it_is_and_is_continued_to_its_files(client: Any, served: Served) -> None:
    job = client.submit(video=handle_file(served.clip), preset="draft", api_name="/reconstruct")
    run, fractions = "", []
    for status, *_ in job:
        fractions.append(status["fraction"])
        if len(status["registered"]) > 0 and not run:
            run = status["run"]
            client.predict(run, api_name="/stop_run")
    assert run and fractions == sorted(fractions)
    status = client.predict(run, api_name="/run_status")[0]
    assert status["state"] == "stopped" and 0.2 < status["fraction"] < 1

    status, glb, preview, bundle, report = client.predict(run, api_name="/continue_run")
    assert status["state"] == "finished" and status["fraction"] == 1
    assert Path(glb).read_bytes()[:4] == b"glTF" and Path(bundle).stat().st_size > 1000
    assert preview is not None and 0.5 < report["iou"]["mean"] <= 1


def test_the_example_client_leaves_a_model(client: Any, served: Served, tmp_path: Path) -> None:
    target = reconstruct(client, served.clip, tmp_path / "out", "draft")
    assert target.name == "lizard.glb" and target.read_bytes()[:4] == b"glTF"


def test_preview_mask_gives_a_picture_per_keyframe(client: Any, served: Served) -> None:
    pictures, facts = client.predict(video=handle_file(served.clip), preset="draft", api_name="/preview_mask")
    assert len(pictures) == len(facts["keyframes"]) >= 2


def test_plugs_and_settings(client: Any) -> None:
    plugs = client.predict(api_name="/list_plugs")
    assert any(p["name"] == "inflate" and p["ready"] for p in plugs)
    assert client.predict("paper", api_name="/default_settings")["preset"] == "paper"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seed": -1}, "seed must be from"),
        ({"start_s": -1}, "video.start_s must be from"),
        ({"start_s": 0.5, "end_s": 0.2}, "must come after"),
        ({"frame_step": 0}, "video.frame_step must be from"),
        ({"preset": "best"}, "There is no preset “best”"),
        ({"generator": "magic"}, "there is no generator called “magic”"),
        ({"changes": "{"}, "not valid JSON"),
        ({"changes": '{"texture": {"size": 1000000}}'}, "texture.size must be from 16 to 8192"),
        ({"changes": '{"matting": {"points": "0 2 2 +"}}'}, "which is no click"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence_about_it(
    client: Any, served: Served, wrong: dict, words: str
) -> None:
    given = {"video": handle_file(served.clip), "preset": "draft"} | wrong
    with pytest.raises(Exception, match=re.escape(words)):
        client.predict(**given, api_name="/preview_mask")


def test_a_text_file_is_refused_with_a_sentence(client: Any, tmp_path: Path) -> None:
    text = tmp_path / "note.mp4"
    text.write_text("not a video")
    with pytest.raises(Exception, match="note.mp4"):
        client.predict(video=handle_file(text), preset="draft", api_name="/reconstruct")


@pytest.mark.parametrize("endpoint", ["/run_status", "/continue_run", "/stop_run"])
def test_an_unknown_run_is_refused(client: Any, endpoint: str) -> None:
    with pytest.raises(Exception, match="no run behind this link"):
        client.predict("../../etc", api_name=endpoint)
