"""The settings on the page: a few in front, the rest under "Advanced", made from the settings' own classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from v2m4.errors import V2M4Error
from v2m4.plugs import PORTS
from v2m4.settings import Field, Preset, Settings, fields_of

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
}
# These guard the machine, and visitors share it.
GUARDED = {"video.max_frames", "video.max_source_side", "device", "low_vram"}
PRESETS: list[tuple[str, str]] = [
    ("Draft, seconds", "draft"),
    ("Fast, about a minute", "fast"),
    ("Paper, GPU", "paper"),
]


def fields() -> list[Field]:
    """Every setting that is offered under "Advanced", in the order of declaration."""
    return [f for f in fields_of(Settings) if f.name not in FRONT | GUARDED]


def control(field: Field, settings: Settings) -> gr.components.Component:
    """The input that suits a setting's declaration."""
    value = field.of(settings)
    label, info = " / ".join(field.path[1:] or field.path).replace("_", " "), field.text or None
    if field.port is not None:
        return gr.Dropdown(plug_choices(field.port), value=value, label=label, info=info)
    if field.choices:
        return gr.Dropdown(list(field.choices), value=value, label=label, info=info)
    if field.kind is bool:
        return gr.Checkbox(value, label=label, info=info)
    if field.kind in (int, float):
        low, high = (field.range.low, field.range.high) if field.range else (None, None)
        precision = 0 if field.kind is int else None
        return gr.Number(value, label=label, info=info, precision=precision, minimum=low, maximum=high)
    return gr.Textbox(value, label=label, info=info)


def advanced(settings: Settings) -> tuple[gr.Textbox, list[gr.components.Component]]:
    """The accordion; returns the text of all changes (which is what counts) and the inputs that write it."""
    offered = fields()
    inputs: list[gr.components.Component] = []
    with gr.Accordion("Advanced", open=False):
        gr.Markdown("Every number of the method. Only what differs from the preset is listed at the bottom.")
        with gr.Tabs():
            for section in dict.fromkeys(_section(f) for f in offered):
                with gr.Tab(section.capitalize() or "General"):
                    inputs += [control(f, settings) for f in offered if _section(f) == section]
        changes = gr.Textbox(
            "{}",
            label="Changes from the preset (JSON)",
            info='Can be written by hand too, for example {"texture": {"size": 2048}}',
            lines=2,
        )
    return changes, inputs


def _section(field: Field) -> str:
    return field.path[0] if len(field.path) > 1 else ""


def changes_of(preset: Preset, *values: Any) -> str:
    """The settings JSON of whatever in ``values`` (in `fields`' order) differs from the preset."""
    base = Settings.of(preset)
    found: dict[str, Any] = {}
    for field, value in zip(fields(), values, strict=True):
        normal = field.of(base)
        if value is None or value == normal or (isinstance(normal, (int, float)) and float(value) == float(normal)):
            continue
        place = found
        for part in field.path[:-1]:
            place = place.setdefault(part, {})
        place[field.path[-1]] = int(value) if field.kind is int else value
    return json.dumps(found)


def preset_values(preset: Preset) -> list[Any]:
    """The values of all advanced inputs for a preset."""
    base = Settings.of(preset)
    return [field.of(base) for field in fields()]


def settings_of(
    preset: str,
    generator: str,
    stereo: str,
    seed: float | None,
    start_s: float | None,
    end_s: float | None,
    frame_step: float | None,
    stride: float | None,
    template: str | None,
    changes: str | None,
) -> Settings:
    """The settings that the page's inputs mean. Raises V2M4Error with a sentence for whatever cannot be."""
    data: dict[str, Any] = {
        "preset": preset,
        "seed": int(seed if seed is not None else 42),
        "stereo": stereo,
        "generator": {"name": generator, "template": template or None},
        "video": {"start_s": start_s or 0.0, "end_s": end_s or None, "frame_step": int(frame_step or 1)},
        "keyframes": {"stride": int(stride)} if stride else {},
    }
    try:
        extra = json.loads(changes or "{}")
    except json.JSONDecodeError as error:
        raise V2M4Error(
            f"The changes under “Advanced” are not valid JSON ({error.msg}, line {error.lineno})."
        ) from error
    if not isinstance(extra, dict):
        raise V2M4Error("The changes under “Advanced” must be one JSON object, as {} is.")
    written = set(_dotted(extra))
    guarded = sorted(written & (GUARDED | {"generator.template"}))
    if guarded:
        raise V2M4Error(f"{', '.join(guarded)} cannot be changed here. Remove it.")
    settings = Settings.from_json(json.dumps(_merged(data, extra))).checked()
    if template and Path(template).suffix.lower() not in (".glb", ".gltf", ".obj", ".ply"):
        raise V2M4Error("Your own mesh must be a GLB, OBJ or PLY file.")
    return settings


def _dotted(data: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, value in data.items():
        yield ".".join((*path, name))
        if isinstance(value, dict):
            yield from _dotted(value, (*path, name))


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
        notes = "; ".join(note for note in (plug.notice, lacks) if note)
        names.append((f"{plug.name} ({notes})" if notes else plug.name, plug.name))
    return names
