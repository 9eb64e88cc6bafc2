"""The matting stage: which method suits a clip, running it over all frames, and saying what looks wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from v2m4.arrays import Mask
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import Progress, StageRun, scaled
from v2m4.masks import mask_iou
from v2m4.matting import MATTINGS, Doubting, Doubts, InAnyOrder
from v2m4.matting.clicks import Mended
from v2m4.matting.mask_cleanup import holes_of, pieces_of
from v2m4.registry import choose
from v2m4.render.threads import in_order
from v2m4.settings import MattingSettings, Settings
from v2m4.video import write_png

_PREPARED = 0.25  # of the progress bar
_AT_ONCE = 4  # frames, each with a few pictures of floats


@dataclass(frozen=True)
class Matte:
    """The clip with its object cut out, how that was done, sentences about frames that look wrong, and those in which
    no object was found."""

    clip: Clip
    method: str
    warnings: tuple[str, ...]
    empty: tuple[int, ...]


@dataclass(frozen=True)
class _MaskFacts:
    """What the warnings need to know of a frame. area: share of the picture; sides: borders touched; overlap, growth:
    against the mask before; holes, second: area of holes and of the second largest piece, as shares of the object's."""

    area: float
    sides: frozenset[str]
    overlap: float = 1.0
    growth: float = 1.0
    holes: float = 0.0
    second: float = 0.0
    doubts: Doubts = field(default_factory=Doubts)


def cut_out(
    clip: Clip, folder: Path, settings: MattingSettings, ready: Collection[str] = ("alpha", "flat", "motion")
) -> StageRun[Matte]:
    """Write the object of every frame of ``clip`` to ``folder`` as RGBA and return the clip that lies there.

    ready: the methods that "auto" may choose among.

    The clip's own frames stay as they are. Frames are written one by one, clip.json last. Raises V2M4Error if no frame
    holds a foreground, or if the method does not suit the clip.
    """
    method = settings.method if settings.method != "auto" else suitable(clip, settings, ready)
    matting = choose(MATTINGS, method).create(Settings(matting=settings), torch.device("cpu"))
    if settings.points:
        matting = Mended(matting, settings)
    (folder / "clip.json").unlink(missing_ok=True)
    yield from scaled(matting.prepare(clip, settings), 0.0, _PREPARED)
    at_once = _AT_ONCE if isinstance(matting, InAnyOrder) and matting.in_any_order else 1

    def cut(index: int) -> tuple[Mask, Doubts]:
        own = copy(matting) if at_once > 1 else matting  # what it doubts is told of its last frame
        rgba = own.frame(clip, index)
        write_png(folder / f"{index:05d}.png", rgba)
        return rgba[..., 3] > 127, own.doubts if isinstance(own, Doubting) else Doubts()

    facts: list[_MaskFacts] = []
    before: Mask | None = None
    for index, (mask, doubts) in enumerate(in_order(cut, len(clip), at_once)):
        facts.append(_facts(clip, mask, before, settings.warnings.touching, doubts))
        before = mask
        yield Progress("matting", _PREPARED + (1 - _PREPARED) * (index + 1) / len(clip))
    if all(frame.area < settings.min_area for frame in facts):
        raise V2M4Error(
            f"No object was found in {clip.name}: all {len(clip)} frames look like background ({method}). "
            "Choose another --matting.method, lower --matting.min-area if the object is tiny, or give frames with "
            "transparency."
        )
    masked = replace(clip, folder=folder, has_alpha=True)
    masked.save()
    empty = tuple(i for i, frame in enumerate(facts) if frame.area < settings.min_area)
    return Matte(masked, method, warnings(facts, settings), empty)


def suitable(clip: Clip, settings: MattingSettings, ready: Collection[str]) -> str:
    """The name of the method that the clip's own pictures speak for, of those that are ``ready``."""
    if clip.has_alpha:
        return "alpha"
    from v2m4.matting.flat import is_flat

    if is_flat(clip, settings.flat):
        return "flat"
    return "rembg" if "rembg" in ready else "motion"


def _facts(clip: Clip, mask: Mask, before: Mask | None, touching: float, doubts: Doubts) -> _MaskFacts:
    left, top, right, bottom = clip.content_box()
    inside = mask[top:bottom, left:right]
    area = float(inside.mean())
    edges = {"left": inside[:, 0], "right": inside[:, -1], "top": inside[0], "bottom": inside[-1]}
    sides = frozenset(name for name, edge in edges.items() if edge.mean() > touching)
    if not mask.any():
        return _MaskFacts(area, sides)
    pieces, holes = pieces_of(inside), holes_of(inside)
    found = _MaskFacts(
        area,
        sides,
        holes=holes / (holes + max(1, sum(pieces))),
        second=pieces[1] / pieces[0] if len(pieces) > 1 else 0.0,
        doubts=doubts,
    )
    if before is None or not before.any():
        return found
    growth = float(mask.sum()) / float(before.sum())
    return replace(found, overlap=mask_iou(mask, before), growth=max(growth, 1 / growth))


def warnings(facts: list[_MaskFacts], settings: MattingSettings) -> tuple[str, ...]:
    """Sentences about empty, cropped and flickering frames: which, why it matters, and what to do."""
    found = []
    empty = [i for i, frame in enumerate(facts) if frame.area < settings.min_area]
    if empty:
        found.append(
            f"No object was found in {_frames(empty)}. Nothing can be rebuilt from a frame without it: "
            "trim the clip, or choose another matting method if the object is there."
        )
    full = [i for i, frame in enumerate(facts) if len(frame.sides) == 4]
    if full:
        found.append(
            f"The foreground touches all four borders in {_frames(full)}, so that part of the background was probably "
            "taken for the object, and the mesh would include it. Choose another matting method, or give frames with "
            "transparency."
        )
    cropped = [i for i, frame in enumerate(facts) if 0 < len(frame.sides) < 4]
    if cropped:
        sides = sorted(set().union(*(facts[i].sides for i in cropped)))
        found.append(
            f"The object is cut off by the picture's border ({', '.join(sides)}) in {_frames(cropped)}. "
            "What lies outside is not rebuilt, and the mesh ends flat there. A clip that shows the whole object gives "
            "a better one."
        )
    limits = settings.warnings
    flicker = [
        i
        for i, frame in enumerate(facts)
        if frame.overlap < limits.flicker_overlap and frame.growth > limits.flicker_growth
    ]
    if flicker:
        found.append(
            f"The foreground changes abruptly at {_frames(flicker)}, so parts of the object come and go, and the mesh "
            "would jump. Look at the masks; choose another matting method or trim those frames."
        )
    return (*found, *_doubtful(facts, settings))


def _doubtful(facts: list[_MaskFacts], settings: MattingSettings) -> Iterator[str]:
    """Sentences about holes, things beside the object and shadows that stay for a good part of the clip."""
    limits = settings.warnings
    shown = [frame for frame in facts if frame.area >= settings.min_area]

    def often(share: Callable[[_MaskFacts], float], least: float) -> bool:
        return sum(share(frame) > least for frame in shown) > limits.share * len(shown)

    if often(lambda frame: frame.holes, limits.hollow):
        mean = sum(frame.holes for frame in shown) / len(shown)
        yield (
            f"The mask is hollow: holes make up {mean:.0%} of it, probably where the object has the background's "
            "colour, and the mesh will have them too. Choose another matting method, or give frames with transparency."
        )
    if often(lambda frame: max(frame.second, frame.doubts.left_out), limits.second):
        left_out = often(lambda frame: frame.doubts.left_out, limits.second)
        what = "It was left out" if left_out else "Both are rebuilt as one"
        yield (
            f"There seems to be a second object beside the first. {what}: crop the clip around the object that you "
            "mean, or give frames with transparency."
        )
    shadows = [frame.doubts.hard_shadow for frame in shown]
    if sum(shadows) <= limits.shadow_most * len(shown) and often(lambda frame: frame.doubts.hard_shadow, limits.shadow):
        mean = sum(shadows) / len(shown)
        yield (
            f"About {mean:.0%} of the mask looks like a shadow with a hard edge, and would become part of the mesh. "
            "Film in softer light, choose another matting method, or give frames with transparency."
        )


def _frames(indices: list[int]) -> str:
    """“frame 3”, “frames 3-7 and 9”: runs of consecutive frames, shortened after a few."""
    runs: list[tuple[int, int]] = []
    for i in indices:
        if runs and i == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], i)
        else:
            runs.append((i, i))
    words = [str(a) if a == b else f"{a}-{b}" for a, b in runs]
    if len(words) > 6:
        words = [*words[:5], f"{len(words) - 5} more places"]
    text = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"frame{'s' if len(indices) > 1 else ''} {text}"
