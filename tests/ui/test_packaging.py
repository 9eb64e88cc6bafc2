"""What the Space's builder reads: front matter, requirements, the list of files that are sent."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import yaml

from scripts import deploy_space, sync_requirements

ROOT = Path(__file__).parents[2]
KEYS = {
    *("title", "emoji", "pinned", "license", "tags", "short_description", "colorFrom", "colorTo", "sdk", "sdk_version"),
    *("app_file", "python_version", "suggested_hardware", "models", "datasets", "preload_from_hub", "header"),
    *("fullWidth", "thumbnail", "startup_duration_timeout"),
}


def test_front_matter_follows_the_hub() -> None:
    facts = yaml.safe_load((ROOT / "README.md").read_text().split("---")[1])
    assert set(facts) <= KEYS
    assert {"title", "emoji", "sdk", "sdk_version", "app_file", "python_version", "license"} <= set(facts)
    assert facts["sdk"] == "gradio" and facts["python_version"] == "3.12"
    assert len(facts["short_description"]) <= 60
    assert (ROOT / facts["app_file"]).is_file()


def test_requirements_are_in_step_with_pyproject() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert text == sync_requirements.requirements()
    names = {sync_requirements.name_of(line) for line in text.splitlines()[1:]}
    assert not names & {"gradio", "spaces", "huggingface-hub"} and "torch==2.11.0" in text


def test_a_dry_run_lists_what_would_be_sent(capsys) -> None:
    assert deploy_space.main(["somebody/v2m4"]) == 0
    said = capsys.readouterr().out
    assert "app.py" in said and "Nothing was sent" in said and "tests/" not in said


def test_shipped_results_are_small_and_complete() -> None:
    assert importlib.util.find_spec("gradio")
    for clip in (ROOT / "assets" / "examples").glob("*.mp4"):
        folder = ROOT / "assets" / "results" / clip.stem
        assert (folder / "animation.glb").stat().st_size < 1_000_000
        assert (folder / "view.json").is_file() and (folder / "preview.mp4").is_file()
