"""Settings: presets, and the JSON that reproduces a run."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2m4.errors import V2M4Error
from v2m4.settings import Settings


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
    assert (paper.camera.samples, paper.camera.top_views, paper.camera.swarm_size) == (2000, 7, 200)
    assert (paper.camera.swarm_iterations, paper.camera.descent_iterations) == (25, 300)
    assert (paper.registration.global_iterations, paper.registration.local_iterations) == (500, 1000)
    assert (paper.texture.views, paper.texture.iterations, paper.texture.size) == (100, 2500, 1024)
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
        ('{"seed": "many"}', "seed must be a int"),
        ('{"seed": true}', "seed must be a int"),
        ('{"camera": {"method": "luck"}}', "camera.method cannot be 'luck'"),
        ('{"camera": 3}', "camera must be"),
    ],
)
def test_bad_settings_are_explained(text, said):
    with pytest.raises(V2M4Error, match=said):
        Settings.from_json(text)
