"""Making the plugs that a run's settings ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from v2m4.errors import V2M4Error
from v2m4.generators import GENERATORS
from v2m4.matting import MATTINGS
from v2m4.perceptual import PERCEPTUALS
from v2m4.registry import Plug, choose
from v2m4.settings import Settings
from v2m4.stereo import STEREOS

PORTS: Mapping[str, Mapping[str, Plug]] = {
    "generator": GENERATORS,
    "stereo": STEREOS,
    "perceptual": PERCEPTUALS,
    "matting": MATTINGS,
}


def generator_plug(settings: Settings) -> Plug:
    """The generator's declaration; a template mesh implies the template generator."""
    name = "template" if settings.generator.template is not None else settings.generator.name
    return choose(GENERATORS, name, commercial_use=settings.commercial_use)


def chosen_plugs(settings: Settings) -> dict[str, Plug]:
    """The plug that fills each port of the run."""
    plugs = {"generator": generator_plug(settings)}
    if settings.camera.stereo.enabled:
        plugs["stereo"] = choose(STEREOS, settings.stereo, commercial_use=settings.commercial_use)
    plugs["perceptual"] = choose(PERCEPTUALS, settings.perceptual, commercial_use=settings.commercial_use)
    return plugs


def create_generator(settings: Settings, device: torch.device) -> Any:
    """The generator, ready to be called."""
    plug = generator_plug(settings)
    chosen = settings.generator
    match plug.name:
        case "inflate":
            return plug.create(faces=chosen.inflate.faces, thickness=chosen.inflate.thickness)
        case "template":
            if chosen.template is None:
                raise V2M4Error("The generator “template” animates a mesh of yours. Give it with --template MESH.")
            return plug.create(path=chosen.template, max_faces=chosen.max_faces)
        case _:
            return plug.create(settings=chosen, device=device, low_vram=settings.low_vram)


def create_stereo(settings: Settings, device: torch.device) -> Any:
    """The stereo model, or None when the camera search does without one."""
    plug = chosen_plugs(settings).get("stereo")
    if plug is None:
        return None
    precision = settings.camera.stereo.dust3r_precision
    exact = {"precision": precision} if plug.name == "dust3r" and precision != "auto" else {}
    return plug.create(device=device, **exact)


def create_perceptual(settings: Settings, device: torch.device) -> Any:
    """The image distance."""
    return chosen_plugs(settings)["perceptual"].create(device=device)
