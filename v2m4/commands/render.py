"""`v2m4 render`: films and contact sheets of a finished result."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from v2m4.errors import V2M4Error
from v2m4.files import make_writable

if TYPE_CHECKING:
    from v2m4.export.film import Film, Layer, View

_TRANSPARENT_SUFFIX = ".webm"


@dataclass(frozen=True)
class Render:
    """Film a finished result: colour, normal, mask, depth, clay, or the overlay on its video; from the video's camera
    or around the object.

    Films are .mp4, .webm (with transparency), or PNGs in a folder. Several at once go into a folder, a file for each.
    """

    result: tyro.conf.Positional[Path]
    """The folder of a run, or an animated GLB: with its .camera.json beside it and --video, or any for --view orbit."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The file to write (.mp4, .webm), or a folder; RESULT/renders if absent, NAME-renders beside a GLB."""
    looks: tuple[Literal["color", "normal", "mask", "depth", "clay", "overlay"], ...] = ("color",)
    """What the pictures show."""
    view: Literal["reference", "orbit", "both"] = "reference"
    """From the video's camera, from a camera that travels around, or both."""
    orbit_deg: float = 360.0
    """Degrees by which that camera travels during the clip."""
    size: str = "512"
    """The longer side in pixels, or WIDTHxHEIGHT."""
    fps: float | None = None
    """Pictures per second, poses in between interpolated; the video's own times if absent."""
    background: Literal["white", "black", "transparent", "panorama"] = "white"
    """What is behind."""
    panorama: Path | None = None
    """An equirectangular picture that lights clay, and stands behind with --background panorama; else a soft sky."""
    pngs: bool = False
    """Instead of each film, a folder of PNGs."""
    sheet: int = 0
    """Instead of films, a PNG of this many moments side by side, a row per look, the video on top."""
    video: Path | None = None
    """The video of a GLB."""
    overwrite: bool = False
    """Replace files that exist already."""


def run(options: Render) -> None:
    """Write what was asked for; prints the paths."""
    from contextlib import nullcontext

    from v2m4.evaluation.glb import read_glb
    from v2m4.export.film import Film, Stage, write_film, write_sheet
    from v2m4.export.looks import Lighting
    from v2m4.studies.results import is_run, of_model, opened, refuse_missing

    wanted = _films(options)
    refuse_missing(options.result)
    alone = not is_run(options.result) and options.video is None
    if alone and options.view != "orbit":
        read_glb(options.result)  # whether it is one is said first
        raise V2M4Error("A GLB does not hold its video. Name it with --video CLIP, or film around it: --view orbit.")
    longer, exact = read_size(options.size)
    light = Lighting.studio() if options.panorama is None else Lighting.read(options.panorama)
    targets = _targets(options, wanted, in_run=is_run(options.result))
    result = (
        nullcontext([of_model(options.result)])
        if alone
        else opened([options.result], [options.video] if options.video else [])
    )
    with result as (shown,):
        stage = Stage(shown.at, shown.camera, shown.clip, shown.source)

        def film(view: View) -> Film:
            from v2m4.export.film import default_size

            size = exact or default_size(stage, view, longer)
            return Film(size, view, options.orbit_deg, options.fps, options.background, light).checked()

        films = {view: film(view) for _, view in wanted}
        _make_places(targets, options.pngs)
        for path, (layers, view) in targets.items():
            if options.sheet:
                write_sheet(path, stage, films[view], layers, options.sheet)
            else:
                write_film(path, stage, films[view], layers[0])
            print(path)


def _make_places(targets: Iterable[Path], pngs: bool) -> None:
    """Make the folders of the films, or raise V2M4Error before anything is rendered."""
    for place in {path if pngs else path.parent for path in targets}:
        make_writable(place)


def read_size(text: str) -> tuple[int, tuple[int, int] | None]:
    """(longer side, None), or (0, (width, height)) of “640x360”. Raises V2M4Error for anything else."""
    from v2m4.export.film import LARGEST, SMALLEST

    found = re.fullmatch(r"(\d{1,6})(?:[xX×](\d{1,6}))?", text.strip())
    sides = [int(side) for side in found.groups() if side] if found else []
    if not sides or not all(SMALLEST <= side <= LARGEST for side in sides):
        raise V2M4Error(
            f"--size {text} cannot be. Give the longer side in pixels, from {SMALLEST} to {LARGEST}, or WIDTHxHEIGHT."
        )
    return (sides[0], None) if len(sides) == 1 else (0, (sides[0], sides[1]))


def _films(options: Render) -> list[tuple[Layer, View]]:
    """The looks and views that are asked for. Raises V2M4Error where they do not go together."""
    if not options.looks:
        raise V2M4Error("Name at least one look: --looks color normal mask depth clay overlay.")
    if not 0 <= options.sheet <= 100:
        raise V2M4Error(f"A contact sheet shows up to 100 moments, not {options.sheet}.")
    views: tuple[View, ...] = ("reference", "orbit") if options.view == "both" else (options.view,)
    wanted = [(look, view) for view in views for look in options.looks if not (look == "overlay" and view == "orbit")]
    if not wanted:
        raise V2M4Error("The overlay lies on the video, so it exists for --view reference only.")
    if options.pngs and options.sheet:
        raise V2M4Error("A contact sheet is one PNG: drop --pngs or --sheet.")
    return wanted


def _targets(
    options: Render, wanted: list[tuple[Layer, View]], *, in_run: bool
) -> dict[Path, tuple[list[Layer], View]]:
    """Each file or folder that will be written, with its looks and view. Raises V2M4Error if one is there already."""
    output = options.output
    own = options.result / "renders" if in_run else options.result.with_name(f"{options.result.stem}-renders")
    folder = output or own
    suffix = _TRANSPARENT_SUFFIX if options.background == "transparent" else ".mp4"
    suffix = "" if options.pngs else suffix
    targets: dict[Path, tuple[list[Layer], View]] = {}
    if options.sheet:
        for view in dict.fromkeys(view for _, view in wanted):
            targets[folder / f"sheet-{view}.png"] = ([look for look, v in wanted if v == view], view)
    else:
        targets = {folder / f"{look}-{view}{suffix}": ([look], view) for look, view in wanted}
    if output is not None and output.suffix:
        if len(targets) > 1:
            raise V2M4Error(f"{len(targets)} films do not fit into {output.name}. Give a folder with -o.")
        if options.pngs:
            raise V2M4Error(f"PNGs go into a folder, not {output.name}.")
        if options.sheet and output.suffix.lower() != ".png":
            raise V2M4Error(f"A contact sheet is a PNG, not {output.name}.")
        targets = {output: next(iter(targets.values()))}
    there = [path for path in targets if path.exists()] if output is not None and not options.overwrite else []
    if there:
        raise V2M4Error(f"{there[0]} exists already. Choose another name with -o, or replace it with --overwrite.")
    return targets
