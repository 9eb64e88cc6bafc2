from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from v2m4.errors import V2M4Error
from v2m4.settings import Settings, changed
from v2m4.ui.advanced import fields
from v2m4.ui.controls import (
    FRONT,
    GUARDED,
    Asked,
    InputError,
    plug_choices,
    preset_choices,
    preset_info,
)

ASKED = Asked(preset="fast")


def test_every_setting_is_in_front_guarded_or_advanced() -> None:
    def names(data: dict, path: str = "") -> set[str]:
        inner = [names(v, f"{path}{k}.") if isinstance(v, dict) else {path + k} for k, v in data.items()]
        return set().union(*inner)

    assert {f.name for f in fields()} | FRONT | GUARDED == names(json.loads(Settings().to_json()))


@pytest.mark.parametrize("preset", ["fast", "draft"])
def test_untouched_inputs_mean_the_preset(preset: str) -> None:
    assert Asked(preset=preset).settings() == Settings.of(preset)


def test_changes_reach_the_settings() -> None:
    assert replace(ASKED, changes='{"texture": {"size": 2048}}').settings().texture.size == 2048


def test_changes_may_go_by_whole_names() -> None:
    changes = '{"texture.size": 2048, "camera.rigid.directions": 70, "camera": {"rigid.candidates": 7}}'
    settings = replace(ASKED, changes=changes).settings()
    assert (settings.texture.size, settings.camera.rigid.directions, settings.camera.rigid.candidates) == (2048, 70, 7)


def test_inputs_come_back_from_the_settings_they_mean() -> None:
    settings = changed(
        Settings.of("draft", seed=3),
        {"video.end_s": 2.0, "texture.size": 256, "matting.points": "0 0.5 0.5 +", "keyframes.stride": 4},
    )
    assert Asked.of(settings).settings() == settings
    assert Asked.of(Settings.of("draft")) == Asked(preset="draft", start_s=0.0)


@pytest.mark.parametrize(
    ("wrong", "place", "words"),
    [
        ({"changes": "{"}, "changes", "not valid JSON"),
        ({"changes": "[]"}, "changes", "one JSON object"),
        ({"changes": '{"nothing": 1}'}, "changes", "no entry"),
        ({"changes": '{"device": "cuda"}'}, "changes", "cannot be changed here"),
        ({"changes": '{"video": {"max_frames": 9999}}'}, "changes", "cannot be changed here"),
        ({"changes": '{"video.max_frames": 9999}'}, "changes", "cannot be changed here"),
        ({"changes": '{"generator": {"template": "x.glb"}}'}, "changes", "cannot be changed here"),
        ({"changes": '{"texture.sise": 64}'}, "changes", "no entry “texture.sise”"),
        ({"changes": '{"texture": {"size": 1000000}}'}, "changes", "texture.size must be from"),
        ({"changes": '{"registration": {"video": {"rounds": 1000000000}}}'}, "changes", "rounds must be from"),
        ({"start_s": 2, "end_s": 1}, "part", "must come after"),
        ({"frame_step": 0.5}, "part", "must be a whole number"),
        ({"frame_step": 10**9}, "part", "must be from"),
        ({"stride": -3}, "part", "must be from"),
        ({"seed": -1}, "settings", "seed must be from"),
        ({"preset": "best"}, "settings", "no preset"),
        ({"template": "/tmp/mesh.fbx"}, "mesh", "GLB, OBJ or PLY"),
    ],
)
def test_what_cannot_be_is_refused_at_the_input_it_concerns(wrong: dict, place: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as told:
        replace(ASKED, **wrong).settings()
    assert told.value.place == place


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_what_needs_a_gpu_is_not_offered_without_one_and_the_page_says_why() -> None:
    assert [name for _, name in preset_choices()] == ["draft", "fast"]
    assert "CUDA GPU" in preset_info()
    for wrong in ({"preset": "paper"}, {"generator": "trellis"}):
        with pytest.raises(V2M4Error, match="CUDA GPU"):
            replace(ASKED, **wrong).settings()


def test_menus_say_where_a_plugs_licence_does_not_hold() -> None:
    labels = {value: label for label, value in plug_choices("generator")}

    assert "not for the EU, the UK and South Korea" in labels["hunyuan3d"]
    assert "EU" not in labels["trellis"]


ANY_NUMBER = st.none() | st.floats() | st.integers() | st.sampled_from([10**400, -(10**400)])
NUMBERS = ("seed", "start_s", "end_s", "frame_step", "stride")


@given(st.fixed_dictionaries(dict.fromkeys(NUMBERS, ANY_NUMBER)))
def test_whatever_number_is_typed_it_counts_or_is_answered(numbers: dict) -> None:
    told = ""
    try:
        replace(ASKED, **numbers).settings().checked()
    except InputError as error:
        told = f"{error.place}: {error}"
    assert not told or re.match(r"(part|settings): \S+ (\(\S+\) )?must (be|come after) ", told)


def test_changes_within_changes_without_end_are_answered() -> None:
    with pytest.raises(InputError, match="nested too deeply"):
        replace(ASKED, changes=100_000 * '{"a":').settings()
