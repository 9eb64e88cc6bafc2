"""Every number of the method, under "Advanced": ``static/settings.js`` shows them, from data it asks for once opened.

What is typed there is written into the text of changes within the browser, so that it counts at the next press however
slow the server is. Inputs of the framework's own, one for each, would be most of the page.
"""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from v2m4.settings import COMMON, Field, Preset, Settings, fields_of
from v2m4.ui.controls import FRONT, GUARDED, plug_choices

_ADDRESS = "v2m4-settings.json"
SHOW = "(...told) => { window.v2m4Told = told; window.v2m4Settings?.(...told); }"
"""What tells the panel of the chosen preset and the changes."""


def advanced() -> tuple[gr.Textbox, gr.Accordion]:
    """The accordion; returns the text of all changes, which is what counts."""
    with gr.Accordion("Advanced: every number of the method", open=False, elem_id="advanced") as accordion:
        gr.HTML(f'<v2m4-settings data-src="{_ADDRESS}"></v2m4-settings>', padding=False)
        changes = gr.Textbox(
            "{}",
            label="Changes (JSON)",
            info='What differs from the chosen quality. Can be written by hand too: {"texture": {"size": 2048}}',
            lines=2,
            elem_id="changes",
        )
    return changes, accordion


def settings_route() -> Route:
    """The route that tells what the panel offers."""

    def answer(request: Request) -> JSONResponse:
        return JSONResponse(facts())

    return Route(f"/{_ADDRESS}", answer)


@cache
def facts() -> dict[str, Any]:
    """What `static/settings.js` reads: the settings with their values in the preset "fast", and per preset those that
    differ from it."""
    offered, base = fields(), Settings()
    others = {name: Settings.of(name) for name in get_args(Preset)}
    return {
        "fields": [_plain(field, field.of(base)) for field in offered],
        "presets": {
            name: {f.name: f.of(settings) for f in offered if f.of(settings) != f.of(base)}
            for name, settings in others.items()
        },
    }


def fields() -> list[Field]:
    """Every setting that is offered under "Advanced", in the order of declaration."""
    return [f for f in fields_of(Settings) if f.name not in FRONT | GUARDED]


def _plain(field: Field, value: Any) -> dict[str, Any]:
    choices = plug_choices(field.port) if field.port else [(choice, choice) for choice in field.choices]
    limits = {"low": field.range.low, "high": field.range.high, "range": str(field.range)} if field.range else {}
    return {
        "name": field.name,
        "text": field.text,
        "kind": field.kind.__name__,
        "value": value,
        "optional": field.optional,
        "common": field.name in COMMON,
        "choices": choices,
        **limits,
    }
