"""Before a run begins: what its plugs lack is brought, or told in a sentence, and what the user should know is said.

Nothing of the run is worked on or written before that, so that nobody waits for keyframes in order to be told that a
download is impossible.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from v2m4.download import download
from v2m4.errors import Problems
from v2m4.events import Notice
from v2m4.nn.weights import hub_cache, hub_reachable, is_offline, torch_cache
from v2m4.plugs import PORTS
from v2m4.recipe import Recipe
from v2m4.registry import Plug
from v2m4.stage_spec import StageSpec

_DO_WITHOUT = {"tracks": "do without (registration.meshes.tracks.enabled and registration.video.tracks.enabled)"}
"""What is left where no plug of a port needs no weights."""
_IDLE = {
    "stereo": "Cameras are searched without stereo, so “{}” is not used: turn on camera.stereo.enabled with it.",
    "tracks": "No points are tracked, so “{}” is not used: turn on registration.{}.tracks.enabled with it.",
}
"""What a user should know who named a plug of a port that the run does without."""


def needed(recipe: Recipe, stages: Sequence[StageSpec]) -> list[Plug[Any]]:
    """The plugs that the stages of a run work with, once each."""
    ports = dict.fromkeys(port for spec in stages if spec.wanted(recipe) for port in spec.ports)
    return list(dict.fromkeys(plug for port in ports for plug in recipe.plugs_of(port)))


def provide(recipe: Recipe, stages: Sequence[StageSpec]) -> Generator[Notice, None, bool]:
    """Tell what the run's plugs restrict, and download the weights that they lack; returns whether there were any.

    Raises one V2M4Error for all that cannot be brought: packages, and weights where no network or no room is.
    """
    plugs = needed(recipe, stages)
    absent = [plug for plug in plugs if plug.absent_weights()]
    _refuse_unreachable(plugs, absent)
    for plug in plugs:
        plug.check_reach(recipe.settings)
    yield from idle(recipe)
    yield from told(plugs, on_cpu=recipe.settings.device == "cpu")
    for plug in absent:
        yield Notice(
            f"The weights of {plug.name} are not here yet and are downloaded now, once: {_size(plug)}, to "
            f"{_place(plug)}. Licence: {plug.licence}."
        )
        download(plug, lambda text: None, progress=False)
    return bool(absent)


def idle(recipe: Recipe) -> Iterator[Notice]:
    """Which plugs are named in the settings though nothing is done with them."""
    settings = recipe.settings
    for port, sentence in _IDLE.items():
        name = getattr(settings, port)
        if name != "auto" and port not in recipe.plugs:
            yield Notice(sentence.format(name, settings.registration.method))


def told(plugs: Sequence[Plug[Any]], *, on_cpu: bool) -> Iterator[Notice]:
    """What a user of these plugs should know: what their licences forbid, and which are not made for this machine."""
    for plug in plugs:
        if plug.restriction:
            yield Notice(f"Licence of {plug.name}: {plug.licence} ({plug.restriction}).")
        if plug.needs_gpu and on_cpu:
            yield Notice(
                f"{plug.name} is made for a GPU. On this machine's CPU it works too, but takes very long: from many "
                f"minutes to hours for each keyframe, and about twice the {plug.memory_gb:g} GB of memory."
            )


def _refuse_unreachable(plugs: Sequence[Plug[Any]], absent: Sequence[Plug[Any]]) -> None:
    problems = Problems()
    for plug in plugs:
        packages = plug.absent_packages()
        if packages:
            way = plug.bring or f"pip install {' '.join(packages)}"
            problems.add(
                f"The {plug.port} “{plug.name}” needs the package {', '.join(packages)}. Bring it with: {way}."
            )
    offline = is_offline()
    reachable = offline or not any(plug.weights for plug in absent) or hub_reachable()
    for plug in absent:
        if offline:
            problems.add(_absence(plug, "downloads are switched off (HF_HUB_OFFLINE)"))
        elif plug.weights and not reachable:
            problems.add(_absence(plug, "the Hub cannot be reached"))
        elif _free_gb(_place(plug)) < plug.size_gb:
            room = f"{_place(plug)} has no room for them ({_free_gb(_place(plug)):.1f} GB free)"
            problems.add(_absence(plug, room, "Free some space there"))
    problems.refuse()


def _absence(plug: Plug[Any], reason: str, way: str = "Connect to the network") -> str:
    where = sorted({repo for repo, *_ in plug.weights}) or [name for name, *_ in plug.torch_files]
    of = f" of {', '.join(where)}" if where else ""
    return (
        f"The {plug.port} “{plug.name}” needs weights{of} ({_size(plug)}) that are not on this machine, and {reason}. "
        f"{way} and give `v2m4 download {plug.name}`, or {_alternative(plug)}."
    )


def _alternative(plug: Plug[Any]) -> str:
    """What can be done without any weights, in words."""
    others = [p.name for p in PORTS[plug.port].values() if not p.learned and not p.missing() and p.preference >= 0]
    if not others:
        return _DO_WITHOUT.get(plug.port, f"choose another {plug.port}")
    refining = f", with refinement.{plug.name}_weight 0" if plug.port == "perceptual" else ""
    return f"choose a {plug.port} that needs no weights: {', '.join(others)}{refining}"


def _size(plug: Plug[Any]) -> str:
    return f"about {plug.size_gb:g} GB" if plug.size_gb else "of unknown size"


def _place(plug: Plug[Any]) -> Path:
    if plug.torch_files:
        return torch_cache("").parent
    return hub_cache() if plug.weights else Path.home()


def _free_gb(folder: Path) -> float:
    """Free space where a folder is or will be."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free / 1e9


def require(plug: Plug[Any]) -> None:
    """Raise V2M4Error if a plug's weights are absent and cannot be downloaded."""
    _refuse_unreachable([plug] if plug.supply else [], [plug] if plug.absent_weights() else [])
