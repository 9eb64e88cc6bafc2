"""The viewer's data and its files: they are served from the package, so that nothing is fetched from elsewhere."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from v2m4.ui.pictures import url
from v2m4.ui.quality import weakest_frames
from v2m4.ui.run_view import RunView

STATIC = Path(__file__).with_name("static")
_PREFIX = "v2m4-static"
HEAD = "".join(
    f'<script type="module" src="{_PREFIX}/{name}.js"></script>' for name in ("viewer", "mask", "settings", "page")
)


def static_route() -> Mount:
    """The route under which the package's scripts are served."""
    return Mount(f"/{_PREFIX}", StaticFiles(directory=STATIC))


def viewer(view: RunView) -> str:
    """The model, video and re-render of a run, as far as there are any."""
    data = escape(json.dumps(viewer_facts(view)), quote=True)
    return f'<v2m4-viewer data-view="{data}"></v2m4-viewer>'


def viewer_facts(view: RunView) -> dict[str, Any]:
    """What ``static/viewer.js`` reads."""
    if view.model is None:
        waiting = view.state in ("waiting", "working")
        return {
            "name": view.name,
            "hint": "The first model appears here shortly." if waiting else "The model appears here.",
        }
    facts: dict[str, Any] = {"name": view.name, "src": url(view.model), "label": view.model_label}
    if view.done and "preview" in view.files:
        facts |= {
            "duration": view.duration,
            "times": list(view.times),
            "keyframes": list(view.keyframes),
            "weak": weakest_frames(view.report),
            "preview": url(view.files["preview"]),
            "content": list(view.content),
        }
    return facts
