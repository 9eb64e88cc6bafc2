"""What the panel of all settings is made from, and what the page itself carries."""

from __future__ import annotations

import json
import urllib.request
from typing import get_args

from tests.ui.conftest import Served
from v2m4.settings import Preset, Settings, fields_of
from v2m4.ui.advanced import facts, fields
from v2m4.ui.controls import GUARDED


def test_the_panel_tells_every_value_of_every_preset() -> None:
    told = json.loads(json.dumps(facts()))
    assert [field["name"] for field in told["fields"]] == [field.name for field in fields()]
    assert all(field["text"] for field in told["fields"])
    for preset in get_args(Preset):
        settings, others = Settings.of(preset), told["presets"][preset]
        for field, plain in zip(fields(), told["fields"], strict=True):
            assert others.get(field.name, plain["value"]) == field.of(settings)


def test_the_page_carries_no_input_per_setting(served: Served) -> None:
    with urllib.request.urlopen(f"{served.url}config") as answer:
        config = json.loads(answer.read())
    assert len(config["components"]) < 150 < len(fields_of(Settings))
    with urllib.request.urlopen(f"{served.url}v2m4-settings.json") as answer:
        asked_for_later = json.loads(answer.read())
    assert not GUARDED & {field["name"] for field in asked_for_later["fields"]}
