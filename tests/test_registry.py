"""Plugs: what can run here, and what `auto` picks."""

import pytest
import torch

from tests import plug_types
from v2m4.errors import V2M4Error
from v2m4.plugs import PORTS
from v2m4.registry import Plug, choose, third_party_plugs
from v2m4.settings import Settings


def plug(name, **changes):
    return Plug("generator", name, "builtins:dict", "A test.", "MIT", changes.pop("commercial", True), **changes)


PLUGS = {
    p.name: p
    for p in (
        plug("plain"),
        plug("best", preference=9, commercial=False),
        plug("absent", preference=99, packages=("no_such_package_anywhere",)),
        plug("asked", preference=-1),
    )
}


def test_auto_takes_the_most_preferred_that_is_ready():
    assert choose(PLUGS, "auto").name == "best"


def test_commercial_use_skips_and_refuses_what_forbids_it():
    assert choose(PLUGS, "auto", commercial_use=True).name == "plain"
    with pytest.raises(V2M4Error, match="may not be used commercially"):
        choose(PLUGS, "best", commercial_use=True)


def test_negative_preference_is_only_taken_by_name():
    assert choose({"asked": PLUGS["asked"]}, "asked").name == "asked"
    with pytest.raises(V2M4Error, match="No generator can run here"):
        choose({"asked": PLUGS["asked"]}, "auto")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(V2M4Error, match="plain, best, absent, asked"):
        choose(PLUGS, "worst")


def test_missing_packages_are_named():
    assert PLUGS["absent"].missing() == ["package no_such_package_anywhere"]


class Told:
    """A plug that keeps what it was made from."""

    def __init__(self, seed, device):
        self.made_from = (seed, device)

    @classmethod
    def from_settings(cls, settings, device):
        return cls(settings.seed, device)


def test_a_plug_is_made_from_the_runs_settings():
    told = Plug("generator", "told", "tests.test_registry:Told", "A test.", "MIT", True)
    made = told.create(Settings(seed=3), torch.device("cpu"))
    assert made.made_from == (3, torch.device("cpu"))


def test_a_check_of_its_own_counts_as_missing_weights():
    assert plug("checked", check="tests.test_registry:never").missing() == ["its weights"]


def never():
    return False


def test_the_type_checker_sees_every_plug_of_ours():
    shown = {
        "generator": plug_types.GENERATORS,
        "stereo": plug_types.STEREOS,
        "perceptual": plug_types.PERCEPTUALS,
        "matting": plug_types.MATTINGS,
        "tracks": plug_types.TRACKERS,
        "measure": plug_types.MEASURES,
    }
    ours = {
        port: {plug.load() for plug in plugs.values() if plug.target.startswith("v2m4.")}
        for port, plugs in PORTS.items()
    }
    assert ours == {port: set(classes) for port, classes in shown.items()}


class _Declared:
    """An entry point as `importlib.metadata` hands it out."""

    dist = None
    value = "elsewhere:PLUG"

    def __init__(self, name, plug):
        self.name, self.plug = name, plug

    def load(self):
        if isinstance(self.plug, BaseException):
            raise self.plug
        return self.plug


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (RuntimeError("boom"), "cannot be imported .RuntimeError: boom"),
        (SystemExit(3), "cannot be imported .SystemExit: 3"),
        (None, "is no Plug but a NoneType"),
        (plug("plain"), "has a name that is taken"),
        (plug("auto"), "no name for a plug"),
        (plug(""), "no name for a plug"),
        (plug("../x\n"), "no name for a plug"),
        (plug(7), "no name for a plug"),
        (Plug("matting", "other", "builtins:dict", "A test.", "MIT", True), "is no generator but a matting"),
    ],
)
def test_a_declaration_that_cannot_be_used_is_left_out_with_a_warning(monkeypatch, declared, words):
    entries = [_Declared("theirs", declared), _Declared("good", plug("good"))]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries)
    with pytest.warns(UserWarning, match=words):
        assert list(third_party_plugs("v2m4.generators", PLUGS, Plug)) == ["good"]
