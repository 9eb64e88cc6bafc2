"""The settings on the page: a few in front, the rest under "Advanced", made from the settings' own classes."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import textwrap
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import gradio as gr

from v2m4.errors import V2M4Error
from v2m4.generators import GENERATORS
from v2m4.settings import Preset, Settings
from v2m4.stereo import STEREOS

FRONT = {
    ("", "preset"),
    ("", "seed"),
    ("", "stereo"),
    ("generator", "name"),
    ("generator", "template"),
    ("video", "start_s"),
    ("video", "end_s"),
    ("video", "frame_step"),
    ("keyframes", "stride"),
}
# These guard the machine, and visitors share it.
GUARDED = {("video", "max_frames"), ("video", "max_source_side"), ("", "device"), ("", "low_vram")}
PRESETS: list[tuple[str, str]] = [
    ("Draft, seconds", "draft"),
    ("Fast, about a minute", "fast"),
    ("Paper, GPU", "paper"),
]


@dataclasses.dataclass(frozen=True)
class Field:
    """One setting: its stage ("" at the top), name, type, explanation."""

    stage: str
    name: str
    hint: Any
    text: str

    def of(self, settings: Settings) -> Any:
        """Its value in ``settings``."""
        return getattr(getattr(settings, self.stage) if self.stage else settings, self.name)


def fields() -> list[Field]:
    """Every setting that is offered under "Advanced", in the order of the classes."""
    found = _fields_of(Settings, "")
    for stage, hint in get_type_hints(Settings).items():
        if dataclasses.is_dataclass(hint):
            found += _fields_of(hint, stage)
    return [f for f in found if (f.stage, f.name) not in FRONT | GUARDED]


def _fields_of(kind: Any, stage: str) -> list[Field]:
    hints, texts = get_type_hints(kind), _explanations(kind)
    names = [f.name for f in dataclasses.fields(kind) if not dataclasses.is_dataclass(hints[f.name])]
    return [Field(stage, name, hints[name], texts.get(name, "")) for name in names]


def _explanations(kind: type) -> dict[str, str]:
    """The docstrings that stand under the fields of a dataclass."""
    source = textwrap.dedent(inspect.getsource(kind))
    pairs = re.findall(r'^    (\w+):[^\n]*\n    """(.*?)"""', source, flags=re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in pairs}


def control(field: Field, settings: Settings) -> gr.components.Component:
    """The input that suits a setting's type."""
    value = field.of(settings)
    label, info = field.name.replace("_", " "), field.text or None
    if get_origin(field.hint) is Literal:
        return gr.Dropdown(list(get_args(field.hint)), value=value, label=label, info=info)
    if field.hint is bool:
        return gr.Checkbox(value, label=label, info=info)
    if field.hint in (int, float):
        return gr.Number(value, label=label, info=info, precision=0 if field.hint is int else None)
    return gr.Textbox(value, label=label, info=info)


def advanced(settings: Settings) -> tuple[gr.Textbox, list[gr.components.Component]]:
    """The accordion; returns the text of all changes (which is what counts) and the inputs that write it."""
    offered = fields()
    inputs: list[gr.components.Component] = []
    with gr.Accordion("Advanced", open=False):
        gr.Markdown("Every number of the method. Only what differs from the preset is listed at the bottom.")
        with gr.Tabs():
            for stage in dict.fromkeys(f.stage for f in offered):
                with gr.Tab(stage.capitalize() or "General"):
                    inputs += [control(f, settings) for f in offered if f.stage == stage]
        changes = gr.Textbox(
            "{}",
            label="Changes from the preset (JSON)",
            info='Can be written by hand too, for example {"texture": {"size": 2048}}',
            lines=2,
        )
    return changes, inputs


def changed(preset: Preset, *values: Any) -> str:
    """The settings JSON of whatever in ``values`` (in `fields`' order) differs from the preset."""
    base = Settings.of(preset)
    found: dict[str, Any] = {}
    for field, value in zip(fields(), values, strict=True):
        normal = field.of(base)
        if value is None or value == normal or (isinstance(normal, (int, float)) and float(value) == float(normal)):
            continue
        place = found.setdefault(field.stage, {}) if field.stage else found
        place[field.name] = int(value) if field.hint is int else value
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
    for name, value in extra.items():
        guarded = [name] if ("", name) in GUARDED else []
        if isinstance(value, dict):
            guarded += [f"{name}.{inner}" for inner in value if (name, inner) in GUARDED]
        if guarded or (name == "generator" and isinstance(value, dict) and "template" in value):
            raise V2M4Error(f"{', '.join(guarded) or 'generator.template'} cannot be changed here. Remove it.")
        data[name] = data[name] | value if isinstance(value, dict) and isinstance(data.get(name), dict) else value
    settings = Settings.from_json(json.dumps(data))
    if settings.video.frame_step < 1 or settings.keyframes.stride < 1:
        raise V2M4Error("“Every n-th frame” and “Frames between keyframes” must be 1 or more.")
    if settings.video.end_s is not None and settings.video.end_s <= settings.video.start_s:
        raise V2M4Error("“To” must come after “From”.")
    if template and Path(template).suffix.lower() not in (".glb", ".gltf", ".obj", ".ply"):
        raise V2M4Error("Your own mesh must be a GLB, OBJ or PLY file.")
    return settings


def plug_choices(port: str) -> list[tuple[str, str]]:
    """A port's plugs for a menu, those that can run here first."""
    plugs = {"generator": GENERATORS, "stereo": STEREOS}[port]
    names = [("Automatic", "auto")]
    for plug in sorted(plugs.values(), key=lambda p: bool(p.missing())):
        names.append(
            (plug.name if not plug.missing() else f"{plug.name} (not here: {', '.join(plug.missing())})", plug.name)
        )
    return names
