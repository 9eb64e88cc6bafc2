from __future__ import annotations

import json

import pytest

from v2m4.errors import V2M4Error
from v2m4.settings import Settings
from v2m4.ui.controls import FRONT, GUARDED, changes_of, fields, plug_choices, preset_values, settings_of

FRONT_VALUES = ("auto", "auto", 42, 0, 0, 1, 0, None)


def test_every_setting_is_in_front_guarded_or_advanced() -> None:
    def names(data: dict, path: str = "") -> set[str]:
        inner = [names(v, f"{path}{k}.") if isinstance(v, dict) else {path + k} for k, v in data.items()]
        return set().union(*inner)

    assert {f.name for f in fields()} | FRONT | GUARDED == names(json.loads(Settings().to_json()))


@pytest.mark.parametrize("preset", ["paper", "fast", "draft"])
def test_untouched_inputs_mean_the_preset(preset: str) -> None:
    assert changes_of(preset, *preset_values(preset)) == "{}"
    assert settings_of(preset, *FRONT_VALUES, "{}") == Settings.of(preset)


def test_changes_reach_the_settings() -> None:
    values = preset_values("fast")
    place = [f.name for f in fields()].index("texture.size")
    values[place] = 2048
    text = changes_of("fast", *values)
    assert json.loads(text) == {"texture": {"size": 2048}}
    assert settings_of("fast", *FRONT_VALUES, text).texture.size == 2048


@pytest.mark.parametrize(
    "changes",
    [
        "{",
        "[]",
        '{"nothing": 1}',
        '{"device": "cuda"}',
        '{"video": {"max_frames": 9999}}',
        '{"texture": {"size": 1000000}}',
    ],
)
def test_bad_changes_are_refused(changes: str) -> None:
    with pytest.raises(V2M4Error):
        settings_of("fast", *FRONT_VALUES, changes)


def test_menus_say_where_a_plugs_licence_does_not_hold() -> None:
    labels = {value: label for label, value in plug_choices("generator")}

    assert "not for the EU, the UK and South Korea" in labels["hunyuan3d"]
    assert "EU" not in labels["trellis"]
