"""The settings that the page's inputs mean: a few in front, the rest as changes, checked by the settings' classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from v2m4.errors import V2M4Error
from v2m4.generators import GENERATORS
from v2m4.plugs import PORTS
from v2m4.settings import Field, Preset, Settings, fields_of

Place = Literal["video", "part", "mesh", "settings", "changes"]
"""Where on the page a sentence about an input belongs."""
FRONT = {
    "preset",
    "seed",
    "stereo",
    "generator.name",
    "generator.template",
    "video.start_s",
    "video.end_s",
    "video.frame_step",
    "keyframes.stride",
    "matting.method",
}
# These guard the machine, and visitors share it.
GUARDED = {"video.max_frames", "video.max_source_side", "device", "low_vram"}
TEMPLATES = (".glb", ".gltf", ".obj", ".ply")
_PRESET_WORDS = {"draft": "Draft, seconds", "fast": "Good, about a minute", "paper": "Best, the paper's way"}
_PLACES: tuple[tuple[str, Place], ...] = (
    ("video.", "part"),
    ("keyframes.", "part"),
    ("generator.template", "mesh"),
    ("generator.name", "settings"),
    ("stereo", "settings"),
    ("seed", "settings"),
    ("preset", "settings"),
)


class InputError(V2M4Error):
    """A V2M4Error about one input: ``place`` is where its sentence belongs."""

    def __init__(self, place: Place, sentence: str) -> None:
        super().__init__(sentence)
        self.place: Place = place


@dataclass(frozen=True)
class Asked:
    """What the page's inputs hold, in their order; numbers may be None where a field was emptied. method: of matting.
    changes: JSON of all further settings."""

    preset: str = "fast"
    generator: str = "auto"
    stereo: str = "auto"
    seed: float | None = 42
    start_s: float | None = 0
    end_s: float | None = 0
    frame_step: float | None = 1
    stride: float | None = 0
    template: str | None = None
    method: str = "auto"
    changes: str | None = "{}"

    def settings(self) -> Settings:
        """The settings meant. Raises InputError with a sentence for whatever cannot be."""
        if self.preset not in get_args(Preset):
            raise InputError(
                "settings", f"There is no preset “{self.preset}”. Choose one of: {', '.join(get_args(Preset))}."
            )
        reason = why_not(self.preset)
        if reason:
            raise InputError("settings", f"The preset “{self.preset}” cannot run here: {reason}. Choose fast or draft.")
        extra = _parsed(self.changes)
        data: dict[str, Any] = {
            "preset": self.preset,
            "seed": _number(self.seed, 42),
            "stereo": self.stereo,
            "generator": {"name": self.generator, "template": self.template or None},
            "video": {
                "start_s": self.start_s or 0.0,
                "end_s": self.end_s or None,
                "frame_step": _number(self.frame_step, 1),
            },
            "keyframes": {"stride": _number(self.stride, 0)} if self.stride else {},
            "matting": {"method": self.method},
        }
        for plain in (data, extra):
            try:
                settings = Settings.from_json(json.dumps(_merged(data, plain))).checked()
            except V2M4Error as error:
                raise InputError("changes" if plain is extra else _place(str(error)), str(error)) from error
        for port, name in (("generator", settings.generator.name), ("stereo", settings.stereo)):
            plug = PORTS[port].get(name)
            if plug is not None and plug.missing():
                raise InputError(
                    "settings", f"The {port} “{name}” cannot run here: it lacks {', '.join(plug.missing())}."
                )
        if self.template and Path(self.template).suffix.lower() not in TEMPLATES:
            raise InputError("mesh", "Your own mesh must be a GLB, OBJ or PLY file.")
        return settings

    @staticmethod
    def of(settings: Settings) -> Asked:
        """The inputs that mean ``settings``."""
        base = Settings.of(settings.preset)
        stride = settings.keyframes.stride
        changes: dict[str, Any] = {}
        for field in fields_of(Settings):
            if field.name not in FRONT | GUARDED and field.of(settings) != field.of(base):
                _put(changes, field, field.of(settings))
        template = settings.generator.template
        return Asked(
            preset=settings.preset,
            generator=settings.generator.name,
            stereo=settings.stereo,
            seed=settings.seed,
            start_s=settings.video.start_s,
            end_s=settings.video.end_s or 0,
            frame_step=settings.video.frame_step,
            stride=0 if stride == base.keyframes.stride else stride,
            template=str(template) if template else None,
            method=settings.matting.method,
            changes=json.dumps(changes),
        )


def why_not(preset: str) -> str:
    """Why a preset cannot run on this machine, as a phrase; "" where it can."""
    if preset != "paper":
        return ""
    if not torch.cuda.is_available():
        return "it needs a CUDA GPU"
    if all(plug.missing() for plug in GENERATORS.values() if plug.needs_gpu):
        return "it needs the weights of a mesh generator"
    return ""


def preset_choices() -> list[tuple[str, str]]:
    """The presets that can run here, with their labels."""
    return [(label, name) for name, label in _PRESET_WORDS.items() if not why_not(name)]


def preset_info() -> str:
    """What is said beside the presets: which cannot run here, and why."""
    absent = [
        f"“{label}” is not offered here: {why_not(name)}." for name, label in _PRESET_WORDS.items() if why_not(name)
    ]
    return " ".join(absent)


def _put(data: dict[str, Any], field: Field, value: Any) -> None:
    """Write ``value`` at the field's place in nested ``data``."""
    for part in field.path[:-1]:
        data = data.setdefault(part, {})
    data[field.path[-1]] = value


def _number(value: float | None, otherwise: int) -> int | float:
    """A whole number as int; any other stays as it is, so that its setting's own check tells what is wrong."""
    if value is None:
        return otherwise
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _parsed(changes: str | None) -> dict[str, Any]:
    try:
        extra = json.loads(changes or "{}")
    except json.JSONDecodeError as error:
        raise InputError(
            "changes", f"The changes under “Advanced” are not valid JSON ({error.msg}, line {error.lineno})."
        ) from error
    except RecursionError as error:
        raise InputError("changes", "The changes under “Advanced” are nested too deeply.") from error
    if not isinstance(extra, dict):
        raise InputError("changes", "The changes under “Advanced” must be one JSON object, as {} is.")
    extra = _nested(extra)
    guarded = sorted(set(_dotted(extra)) & (GUARDED | {"generator.template"}))
    if guarded:
        raise InputError("changes", f"{', '.join(guarded)} cannot be changed here. Remove it.")
    return extra


def _place(sentence: str) -> Place:
    return next((place for start, place in _PLACES if sentence.startswith(start)), "settings")


def _dotted(data: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, value in data.items():
        yield ".".join((*path, name))
        if isinstance(value, dict):
            yield from _dotted(value, (*path, name))


def _nested(data: dict[str, Any]) -> dict[str, Any]:
    """Settings under whole names, such as "texture.size", as objects in one another."""
    out: dict[str, Any] = {}
    for name, value in data.items():
        first, *rest = name.split(".")
        inner = _nested(value) if isinstance(value, dict) else value
        for part in reversed(rest):
            inner = {part: inner}
        out = _merged(out, {first: inner})
    return out


def _merged(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``extra`` written over it, object by object."""
    both = dict(base)
    for name, value in extra.items():
        inner = both.get(name)
        both[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return both


def plug_choices(port: str) -> list[tuple[str, str]]:
    """A port's plugs for a menu, those that can run here first."""
    plugs = PORTS[port]
    names = [("Automatic", "auto")]
    for plug in sorted(plugs.values(), key=lambda p: bool(p.missing())):
        lacks = f"not here: {', '.join(plug.missing())}" if plug.missing() else ""
        notes = "; ".join(note for note in (plug.restriction, lacks) if note)
        names.append((f"{plug.name} ({notes})" if notes else plug.name, plug.name))
    return names
