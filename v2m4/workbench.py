"""The plugs of a run, each made at its first use and kept, so that no model is loaded twice."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch

from v2m4.artefacts import keyframes_of, masked_clip, posed_mesh, posed_rig
from v2m4.device import pick_device
from v2m4.errors import V2M4Error
from v2m4.generators import GENERATORS, Generator
from v2m4.geometry.mesh import Mesh
from v2m4.perceptual import PERCEPTUALS, Perceptual
from v2m4.recipe import Recipe
from v2m4.run import Run
from v2m4.settings import PartsSettings, Settings
from v2m4.stages import refinement
from v2m4.stages.registration.video import VideoTracker
from v2m4.stereo import STEREOS, Locator, Stereo
from v2m4.tracks import TRACKERS, Tracker


class Workbench:
    """What a run works with: the device, the plugs, and the follower of its video."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._video_tracker: tuple[tuple[Path, str], VideoTracker] | None = None

    @cached_property
    def device(self) -> torch.device:
        """Where the numbers are crunched."""
        return pick_device(self.recipe.settings.device)

    @cached_property
    def generator(self) -> Generator:
        """Image to mesh."""
        return GENERATORS[self.recipe.names["generator"]].create(self.recipe.settings, self.device)

    @cached_property
    def stereo(self) -> Stereo | Locator | None:
        """Pictures to point maps, or None when the camera search does without."""
        name = self.recipe.names.get("stereo")
        return None if name is None else STEREOS[name].create(self.recipe.settings, self.device)

    @cached_property
    def perceptual(self) -> Perceptual:
        """Image distance."""
        return PERCEPTUALS[self.recipe.names["perceptual"]].create(self.recipe.settings, self.device)

    @cached_property
    def image_distances(self) -> refinement.ImageDistances:
        """What refinement compares pictures with. A network that scores cameras too is loaded once."""
        shared = {self.recipe.names["perceptual"]: self.perceptual}
        return refinement.ImageDistances(
            refinement.load_perceptuals(self.recipe.settings.refinement, self.device, shared)
        )

    @cached_property
    def tracker(self) -> Tracker | None:
        """Clip to point tracks, or None when the registration does without."""
        name = self.recipe.names.get("tracks")
        return None if name is None else TRACKERS[name].create(self.recipe.settings, self.device)

    def video_tracker(self, run: Run) -> VideoTracker:
        """What follows the run's video; made anew when anything it was made from is another."""
        key = (run.folder, run.fingerprint("registration"))
        if self._video_tracker is None or self._video_tracker[0] != key:
            _, anchor = keyframes_of(run)
            mesh, settings = posed_mesh(run, anchor), run.recipe.following
            require_in_front(mesh, anchor)
            generator = GENERATORS[run.recipe.settings.generator.name]
            if not generator.keeps_look:
                settings = replace(settings, parts=for_guessed(settings.parts, generator.one_sided))
            self._video_tracker = (
                key,
                VideoTracker(mesh, masked_clip(run), anchor, settings, rig=posed_rig(run, anchor)),
            )
        return self._video_tracker[1]


def for_guessed(parts: PartsSettings, one_sided: bool) -> PartsSettings:
    """The search over jointed parts for a mesh that was made from a frame: none where such meshes are not posed."""
    if parts.meshes == "given" or (parts.meshes == "one_sided" and not one_sided):
        return replace(parts, rounds=0)
    inside = {
        "rig": replace(parts.rig, rounds=parts.guessed.rig_rounds),
        "second_thoughts": replace(parts.second_thoughts, every=parts.guessed.second_thoughts),
        "gait": replace(parts.gait, weight=parts.guessed.gait),
    }
    shorter = {name: value for name, value in vars(parts.guessed).items() if name != "rig_rounds"}
    return replace(parts, **(shorter | inside))


def require_in_front(mesh: Mesh, frame: int) -> None:
    """Raise V2M4Error for a posed mesh that is not wholly in front of the camera: pictures cannot tell of it."""
    depth = mesh.vertices[:, 2]
    if not bool(((depth > 0) & depth.isfinite()).all()):
        raise V2M4Error(
            f"The camera found for frame {frame} stands inside the mesh or beyond it, so the video cannot be "
            "followed. Try another seed, another frame (--keyframes.anchor) or another generator."
        )


def plug_settings(settings: Settings) -> Settings:
    """Only what the plugs are made from, the rest as by default: runs that agree in it can share their plugs."""
    names = ("device", "stereo", "tracks", "perceptual", "low_vram", "generator", "camera", "commercial_use")
    return Settings(**{name: getattr(settings, name) for name in names})
