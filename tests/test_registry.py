"""Plugs: what can run here, and what `auto` picks."""

import pytest
import torch

from tests import plug_types
from v2m4.errors import V2M4Error
from v2m4.plugs import PORTS
from v2m4.registry import Plug, choose
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
