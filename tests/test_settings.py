"""Settings: presets, and the JSON that reproduces a run."""

import ast
import dataclasses
import importlib
import json
import pkgutil
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

import v2m4.settings
from v2m4.errors import V2M4Error
from v2m4.settings import RENAMED, Settings, changed, fields_of


@pytest.mark.parametrize("preset", ["paper", "fast", "draft"])
def test_json_gives_equal_settings_back(preset):
    settings = Settings.of(preset, seed=7)

    assert Settings.from_json(settings.to_json()) == settings


@given(seed=st.integers(0, 2**31), stride=st.integers(1, 50), start=st.floats(0, 100), quantise=st.booleans())
def test_json_keeps_what_was_changed(seed, stride, start, quantise):
    text = json.dumps(
        {
            "preset": "draft",
            "seed": seed,
            "keyframes": {"stride": stride},
            "video": {"start_s": start},
            "export": {"quantise": quantise},
        }
    )

    settings = Settings.from_json(text)

    assert (settings.seed, settings.keyframes.stride) == (seed, stride)
    assert (settings.video.start_s, settings.export.quantise) == (start, quantise)
    assert settings.registration == Settings.of("draft").registration


def test_paper_follows_the_appendix():
    paper = Settings.of("paper")

    assert paper.camera.method == "algorithm1"
    search, stereo, meshes = paper.camera.algorithm1, paper.camera.stereo, paper.registration.meshes
    assert (search.samples, stereo.top_views, search.swarm.size) == (2000, 7, 200)
    assert (search.swarm.iterations, search.descent.iterations) == (25, 300)
    assert (meshes.alignment.iterations, meshes.alignment.views) == (500, 20)
    assert (meshes.large_steps.iterations, meshes.large_steps.views, meshes.large_steps.smoothness) == (1000, 50, 99)
    assert (meshes.view_pool, meshes.view_size, meshes.view_radius) == (1000, 512, 2.0)
    assert (paper.texture.optimise.views, paper.texture.optimise.iterations, paper.texture.size) == (100, 2500, 1024)
    assert paper.keyframes.mode == "fixed"
    assert paper.keyframes.stride == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid JSON"),
        ("[1]", "one JSON object"),
        ('{"preset": "best"}', "no preset “best”"),
        ('{"sed": 1}', "no entry “sed”"),
        ('{"camera": {"sampels": 1}}', "no entry “camera.sampels”"),
        ('{"seed": "many"}', "seed must be a whole number"),
        ('{"seed": true}', "seed must be a whole number"),
        ('{"camera": {"method": "luck"}}', "camera.method cannot be 'luck'"),
        ('{"camera": 3}', "camera must be"),
        ('{"camera": {"rigid": {"directions": 0}}}', "camera.rigid.directions must be from 12 to 20000, but is 0"),
        ('{"camera": {"swarm_size": 9}}', "“camera.swarm_size” is called “camera.algorithm1.swarm.size” now"),
        ('{"refinement": {"method": "fast"}}', "“refinement.method” is gone"),
        ('{"video": {"start_s": NaN}}', "video.start_s must be a finite number"),
        (
            '{"video": {"start_s": 1' + 400 * "0" + "}}",
            r"video.start_s must be from 0 to .*, but is 10+… \(401 characters",
        ),
        ('{"seed": ' + 5001 * "1" + "}", "a number of far too many digits"),
        ('{"seed": 9223372036854775808}', "seed must be from 0 to 9223372036854775807, but is 9223372036854775808"),
        (100_000 * "[", "nested too deeply"),
    ],
)
def test_bad_settings_are_explained(text, said):
    with pytest.raises(V2M4Error, match=said):
        Settings.from_json(text)


def test_all_problems_come_in_one_message():
    with pytest.raises(V2M4Error) as raised:
        Settings.from_json('{"seed": -1, "texture": {"size": 1e9}, "sed": 1}')
    assert all(said in str(raised.value) for said in ("seed must be", "texture.size must be", "“sed”"))


def test_settings_made_in_code_are_checked_the_same_way():
    wrong = changed(Settings(), {"video.end_s": 1.0, "video.start_s": 2.0, "camera.rigid.candidates": -3})
    with pytest.raises(V2M4Error) as raised:
        wrong.checked()
    assert "must come after" in str(raised.value)
    assert "camera.rigid.candidates must be from" in str(raised.value)


@pytest.mark.parametrize("preset", ["paper", "fast", "draft"])
def test_presets_are_within_their_own_ranges(preset):
    assert Settings.of(preset).checked() == Settings.of(preset)


def test_every_setting_has_a_sentence_and_every_number_a_range():
    for field in fields_of(Settings):
        assert field.text.endswith((".", ")")) and len(field.text) > 10, field.name
        assert field.range is not None or field.kind not in (int, float), field.name


def test_every_setting_is_read_somewhere():
    """By its name, as an attribute or in a text, outside the settings: a knob that nothing reads would do nothing."""
    package = Path(v2m4.__file__).parent
    read = set()
    for path in package.rglob("*.py"):
        if "settings" not in path.relative_to(package).parts:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute):
                    read.add(node.attr)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    read.add(node.value)
    assert [field.name for field in fields_of(Settings) if field.name.rpartition(".")[2] not in read] == []


def test_every_section_is_a_field_of_the_settings():
    held, left = {Settings}, [Settings]
    while left:
        inner = {hint for hint in get_type_hints(left.pop()).values() if dataclasses.is_dataclass(hint)}
        left += inner - held
        held |= inner
    for info in pkgutil.iter_modules(v2m4.settings.__path__):
        module = importlib.import_module(f"v2m4.settings.{info.name}")
        for name, kind in vars(module).items():
            if name.endswith("Settings") and dataclasses.is_dataclass(kind):
                assert kind in held, f"{name} of settings/{info.name}.py is no field of Settings, nor of a part of it"


SHIPPED = sorted((Path(__file__).parents[1] / "assets" / "results").glob("*/settings.json"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.parent.name)
def test_the_settings_of_shipped_results_are_read(file):
    assert Settings.from_json(file.read_text()).checked()


def test_every_name_of_earlier_settings_leads_to_one_of_today():
    known = {field.name for field in fields_of(Settings)}
    assert all(now in known for now in RENAMED.values() if now)
    assert not known & set(RENAMED)


@pytest.mark.parametrize(
    "changes",
    [
        {"texture.project.grazing_cosine": 0.4},
        {"texture.project.edge_near_px": 3.0},
        {"registration.video.symmetry.side_on_from": 0.8},
        {"registration.video.symmetry.error_full": 0.12},
    ],
)
def test_limits_between_which_trust_grows_must_differ(changes):
    with pytest.raises(V2M4Error, match=r"must be less than (texture\.project|registration\.video\.symmetry)\."):
        changed(Settings(), changes).checked()


def test_settings_that_moved_say_where_they_are_now():
    with pytest.raises(V2M4Error, match="“texture.lr” is called “texture.optimise.lr” now"):
        Settings.from_json('{"texture": {"lr": 0.1}}')
