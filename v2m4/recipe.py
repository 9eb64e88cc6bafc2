"""What a run will do, decided once, when it opens: every "auto" is resolved here and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from v2m4.device import pick_device
from v2m4.errors import V2M4Error
from v2m4.generators import GENERATORS, GeneratorPlug
from v2m4.matting import MATTINGS, parse_clicks
from v2m4.perceptual import PERCEPTUALS
from v2m4.plugs import PORTS
from v2m4.registry import Plug, choose
from v2m4.settings import Field, FollowVideoSettings, MendingSettings, Settings, changed, fields_of
from v2m4.stereo import STEREOS
from v2m4.tracks import TRACKERS


@dataclass(frozen=True)
class Recipe:
    """A run's settings without any "auto", and the facts that follow from them.

    settings: names of plugs and the device are those that will be used; ``matting.method`` alone may stay "auto",
    since it depends on the clip. mattings: the methods that may then be chosen. plugs: per port, the pinned weights of
    what fills it. mesh_per_keyframe: whether every keyframe gets a mesh of its own, or only the anchor. anchor: which
    keyframe's topology all others take: the first, or the one that shows most of the object. refines: whether meshes
    are refined. keeps_look: whether the generator's own texture stays.
    """

    settings: Settings
    mattings: tuple[str, ...]
    plugs: Mapping[str, tuple[str, ...]]
    mesh_per_keyframe: bool
    anchor: Literal["first", "fullest"]
    refines: bool
    keeps_look: bool

    @staticmethod
    def of(settings: Settings) -> Recipe:
        """Decide everything. Raises V2M4Error for settings that cannot be, alone, together or on this machine."""
        named = (name_problem(field, field.of(settings)) for field in fields_of(Settings))
        wrong = [*settings.problems(), *filter(None, named), *_wrong_clicks(settings.matting.points)]
        if wrong:
            raise V2M4Error(" ".join(wrong))
        generator = _generator(settings)
        names = {"generator": generator.name}
        if settings.camera.stereo.enabled:
            names["stereo"] = choose(STEREOS, settings.stereo, commercial_use=settings.commercial_use).name
        names["perceptual"] = choose(PERCEPTUALS, settings.perceptual, commercial_use=settings.commercial_use).name
        every_mesh = settings.registration.method == "meshes"
        way = settings.registration.meshes if every_mesh else settings.registration.video
        if way.tracks.enabled:
            names["tracks"] = choose(TRACKERS, settings.tracks, commercial_use=settings.commercial_use).name
        resolved = changed(
            settings,
            {
                "device": pick_device(settings.device).type,
                "generator.name": names["generator"],
                "perceptual": names["perceptual"],
                "stereo": names.get("stereo", settings.stereo),
                "tracks": names.get("tracks", settings.tracks),
            },
        )
        return Recipe(
            settings=resolved,
            mattings=_mattings(settings),
            plugs={port: (name, *PORTS[port][name].chosen_by(settings).revisions) for port, name in names.items()},
            mesh_per_keyframe=every_mesh,
            anchor="first" if every_mesh or generator.anchors_first else "fullest",
            refines=settings.refinement.enabled and generator.refinable,
            keeps_look=settings.texture.keep_template and generator.keeps_look,
        )

    def plug(self, port: str) -> Plug[object] | None:
        """The declaration of what fills a port, as the settings choose it; None where the run does without."""
        return PORTS[port][self.plugs[port][0]].chosen_by(self.settings) if port in self.plugs else None

    def plugs_of(self, port: str) -> tuple[Plug[Any], ...]:
        """The declarations of what may work for a port: of "matting" all that may be chosen, of "perceptual/lpips" the
        plug of that name if refinement gives it a weight, of others what fills it, if anything does."""
        port, _, name = port.partition("/")
        if name:
            return (PORTS[port][name],) if getattr(self.settings.refinement, f"{name}_weight", 1) else ()
        if port == "matting":
            return tuple(MATTINGS[method] for method in self.mattings)
        plug = self.plug(port)
        return () if plug is None else (plug,)

    @property
    def mends(self) -> bool:
        """Whether torn places of the mesh that follows the video are mended."""
        return self.settings.mending.enabled and not self.mesh_per_keyframe

    @property
    def mending(self) -> MendingSettings:
        """The numbers of mending. A mesh that was brought is squeezed inside its joints, as its makers meant it."""
        brought = GENERATORS[self.names["generator"]].keeps_look
        return replace(self.settings.mending, least_stretch=0.0) if brought else self.settings.mending

    @property
    def following(self) -> FollowVideoSettings:
        """The numbers of following. A mesh that was brought lacks no limb, and its parts look for their poses again."""
        video = self.settings.registration.video
        brought = GENERATORS[self.names["generator"]].keeps_look
        return changed(video, {"correspondences.outline_facing": False}) if brought else video

    @property
    def written_settings(self) -> str:
        """The settings as they are written beside the results."""
        return self.settings.to_json()

    @property
    def names(self) -> dict[str, str]:
        """The plug of each port that the run fills."""
        return {port: words[0] for port, words in self.plugs.items()}

    @property
    def weights(self) -> dict[str, tuple[str, ...]]:
        """The weights of each port's plug, as far as it has any: file, revision, and digest where none was pinned."""
        return {port: words[1:] for port, words in self.plugs.items() if words[1:]}

    def licences(self, matting: str) -> dict[str, str]:
        """The licence of each port's plug, with what it forbids, after its name; ``matting``: the method chosen."""
        filled = {port: plug for port in self.plugs if (plug := self.plug(port)) is not None}
        filled["matting"] = MATTINGS[matting]
        return {
            port: f"{plug.name}: {plug.licence}" + (f" ({plug.restriction})" if plug.restriction else "")
            for port, plug in filled.items()
        }

    @property
    def wants_gpu(self) -> bool:
        """Whether any plug of the run is meant for a GPU."""
        chosen = [PORTS[port][name] for port, name in self.names.items()]
        return self.settings.device != "cpu" and any(plug.needs_gpu or plug.weights for plug in chosen)

    def to_plain(self) -> dict[str, Any]:
        """The recipe as JSON-able data, for the run's manifest."""
        facts = {name: getattr(self, name) for name in ("mesh_per_keyframe", "anchor", "refines", "keeps_look")}
        plugs = {port: list(words) for port, words in self.plugs.items()}
        return {
            "settings": json.loads(self.settings.to_json()),
            "mattings": list(self.mattings),
            "plugs": plugs,
            **facts,
        }

    @staticmethod
    def from_plain(data: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_plain` described."""
        facts = {name: data[name] for name in ("mesh_per_keyframe", "anchor", "refines", "keeps_look")}
        return Recipe(
            settings=Settings.from_json(json.dumps(data["settings"])),
            mattings=tuple(data["mattings"]),
            plugs={port: tuple(words) for port, words in data["plugs"].items()},
            **facts,
        )


def name_problem(field: Field, value: Any) -> str | None:
    """What is wrong with the name of a plug, as a sentence that names the setting; None where nothing is."""
    if field.port is None or not isinstance(value, str) or value in ("auto", *PORTS[field.port]):
        return None
    choices = ", ".join((*PORTS[field.port], "auto"))
    return f"{field.name}: there is no {field.port} called “{value}”. Choose one of: {choices}."


def _wrong_clicks(points: str) -> Iterator[str]:
    """What is wrong with the clicks on the object, as a sentence."""
    try:
        parse_clicks(points)
    except V2M4Error as error:
        yield str(error)


def file_problem(field: Field, value: Any) -> str | None:
    """What is wrong with a setting that names a file, as a sentence; None where nothing is."""
    if not isinstance(value, Path) or value.is_file():
        return None
    return f"{field.name}: there is no file {value}. Check the path."


def _generator(settings: Settings) -> GeneratorPlug:
    """The generator's declaration; a template mesh implies the template generator."""
    name, template = settings.generator.name, settings.generator.template
    if template is not None and name not in ("auto", "template"):
        raise V2M4Error(
            f"generator.template is given ({template}), but generator.name is “{name}”, which would not use it. "
            "Drop one of the two."
        )
    name = "template" if template is not None else name
    if name == "template" and template is None:
        raise V2M4Error("The generator “template” animates a mesh of yours. Give it with --template MESH.")
    plug = choose(GENERATORS, name, commercial_use=settings.commercial_use)
    plug.check_demands(settings)
    return plug


def _mattings(settings: Settings) -> tuple[str, ...]:
    """The method that was asked for, or for "auto" all that can run here."""
    asked, commercial = settings.matting.method, settings.commercial_use
    if asked != "auto":
        return (choose(MATTINGS, asked, commercial_use=commercial).name,)
    fit = (plug for plug in MATTINGS.values() if plug.commercial or not commercial)
    return tuple(sorted(plug.name for plug in fit if not plug.missing()))
