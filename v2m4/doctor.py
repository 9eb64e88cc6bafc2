"""`v2m4 doctor`: what can run on this machine, what cannot, what each plug lacks, and how to bring it."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import shutil
from typing import Any

import torch

import v2m4
from v2m4.device import pick_device
from v2m4.generators import GENERATORS
from v2m4.host import usable_cores
from v2m4.plugs import PORTS
from v2m4.registry import Plug

_OPTIONAL = {
    "nvdiffrast": "faster rendering on CUDA: pip install git+https://github.com/NVlabs/nvdiffrast (non-commercial)",
    "gsplat": "faster Gaussian splatting on CUDA: pip install gsplat",
    "DracoPy": 'Draco-compressed templates: pip install "v2m4[draco]"',
    "gradio": 'the page: pip install "v2m4[ui]"',
    "open_clip": 'the CLIP score: pip install "v2m4[evaluation]"',
    "matplotlib": 'curves of measures: pip install "v2m4[evaluation]"',
    "ray": 'many clips over a cluster: pip install "v2m4[ray]"',
}
_ON_GPU = {
    "nvdiffrast": "v2m4.render.raster_nvdiffrast:nvdiffrast_works",
    "gsplat": "v2m4.render.gaussians:gsplat_works",
}


def examine() -> dict[str, Any]:
    """The machine, the optional packages, and every plug with its licence and what it lacks."""
    gpu = None
    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        gpu = {"name": facts.name, "memory_gb": round(facts.total_memory / 2**30, 1)}
    return {
        "version": v2m4.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": usable_cores(),
        "gpu": gpu,
        "free_disk_gb": round(shutil.disk_usage(".").free / 2**30, 1),
        "optional": {name: optional_state(name) for name in _OPTIONAL},
        "plugs": [describe(plug, gpu) for plugs in PORTS.values() for plug in plugs.values()],
    }


def optional_state(name: str) -> str:
    """Whether an optional package is "absent", "present", or "broken": installed, but failing at what it is for."""
    if importlib.util.find_spec(name) is None:
        return "absent"
    device = pick_device("auto")
    if name not in _ON_GPU or device.type != "cuda":
        return "present"
    module, _, function = _ON_GPU[name].partition(":")
    works = getattr(importlib.import_module(module), function)
    return "present" if works(torch.device("cuda", torch.cuda.current_device())) else "broken"


def describe(plug: Plug, gpu: dict[str, Any] | None = None) -> dict[str, Any]:
    """A plug as plain data: port, name, summary, licence, commercial, ready, missing, bring, restriction."""
    missing = plug.missing()
    if gpu is not None and plug.needs_gpu and plug.memory_gb > gpu["memory_gb"]:
        missing.append(f"{plug.memory_gb:g} GB of GPU memory")
    return {
        "port": plug.port,
        "name": plug.name,
        "summary": plug.summary,
        "licence": plug.licence,
        "commercial": plug.commercial,
        "ready": not missing,
        "missing": missing,
        "bring": plug.remedy if missing else "",
        "restriction": plug.restriction,
    }


def real_3d_hint() -> str:
    """What would bring real 3D to a machine without a GPU; empty where nothing is to be said."""
    if pick_device("auto").type == "cuda" or not GENERATORS["triposr"].missing():
        return ""
    return (
        "Without a GPU, “v2m4 download triposr” (1.7 GB) brings real 3D: about a minute per mesh instead of a "
        "sheet around guessed depths."
    )


def report(findings: dict[str, Any]) -> str:
    """The findings as text for a terminal."""
    gpu = findings["gpu"]
    lines = [
        f"v2m4 {findings['version']}, Python {findings['python']}, torch {findings['torch']}, "
        f"{findings['cores']} cores, {findings['free_disk_gb']} GB free",
        f"GPU: {gpu['name']}, {gpu['memory_gb']} GB" if gpu else "GPU: none; everything marked ready runs without one",
    ]
    hint = real_3d_hint()
    if hint:
        lines.append(hint)
    port = ""
    for plug in findings["plugs"]:
        if plug["port"] != port:
            port = plug["port"]
            lines += ["", f"{port}:"]
        lines.append(f"  {'ready ' if plug['ready'] else 'absent'} {plug['name']:11} {plug['summary']}")
        lines.append(f"         {'':11} licence: {plug['licence']}")
        if plug["restriction"]:
            lines.append(f"         {'':11} restricted: {plug['restriction']}")
        if plug["missing"]:
            lines.append(f"         {'':11} lacks {', '.join(plug['missing'])}")
        if plug["bring"]:
            lines.append(f"         {'':11} bring it: {plug['bring']}")
    states = findings["optional"]
    broken = [name for name in _OPTIONAL if states[name] == "broken"]
    absent = [text for name, text in _OPTIONAL.items() if states[name] == "absent"]
    if broken or absent:
        lines += ["", "optional:"]
        lines += [f"  {name} is installed but fails here, so it is not used; install it anew" for name in broken]
        lines += [f"  {text}" for text in absent]
    return "\n".join(lines)
