"""The named endpoints, called as a program calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file

from tests.ui.conftest import CLIP, Served

pytestmark = [pytest.mark.timeout(200), pytest.mark.xdist_group("page")]
PUBLIC = {"/reconstruct", "/preview_mask", "/run_status", "/stop_run", "/list_plugs", "/default_settings"}


@pytest.fixture(scope="module")
def client(served: Served) -> Any:
    return Client(served.url, httpx_kwargs={"timeout": 60}, verbose=False)


def test_only_the_documented_endpoints_are_public(client: Any) -> None:
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert set(named) == PUBLIC
    labels = {p["parameter_name"] for p in named["/reconstruct"]["parameters"]}
    assert {"video", "preset", "seed", "template", "changes"} <= labels


def test_reconstruct_streams_and_ends_with_files(client: Any) -> None:
    job = client.submit(video=handle_file(CLIP), preset="draft", frame_step=4, api_name="/reconstruct")
    states = [status for status, *_ in job]
    status, glb, preview, bundle, report = job.result()
    assert status["state"] == "finished" and len(states) > 5
    assert Path(glb).read_bytes()[:4] == b"glTF" and Path(bundle).stat().st_size > 1000
    assert preview is not None and 0.5 < report["iou"]["mean"] <= 1
    again = client.predict(status["run"], api_name="/run_status")
    assert again[0]["state"] == "finished"


def test_preview_mask_gives_a_picture_per_keyframe(client: Any) -> None:
    pictures, facts = client.predict(video=handle_file(CLIP), preset="draft", frame_step=4, api_name="/preview_mask")
    assert len(pictures) == len(facts["keyframes"]) >= 2


def test_plugs_and_settings(client: Any) -> None:
    plugs = client.predict(api_name="/list_plugs")
    assert any(p["name"] == "inflate" and p["ready"] for p in plugs)
    assert client.predict("paper", api_name="/default_settings")["preset"] == "paper"


def test_a_text_file_is_refused_with_a_sentence(client: Any, tmp_path: Path) -> None:
    text = tmp_path / "note.mp4"
    text.write_text("not a video")
    with pytest.raises(Exception, match="note.mp4"):
        client.predict(video=handle_file(text), preset="draft", api_name="/reconstruct")


def test_an_unknown_run_is_refused(client: Any) -> None:
    with pytest.raises(Exception, match="no run behind this link"):
        client.predict("../../etc", api_name="/run_status")
