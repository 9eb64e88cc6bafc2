"""Foreground masks: the port, and the plugs that fill it. `v2m4.matting.stage` runs one over a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from v2m4.arrays import Bytes
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import StageRun
from v2m4.registry import Plug, by_name
from v2m4.settings import MattingSettings


class Matting(Protocol):
    """Tells the object from the background: first a look at the whole clip, then frame by frame, in order."""

    def prepare(self, clip: Clip, settings: MattingSettings) -> StageRun[None]:
        """Learn what the clip's background looks like. Reads a bounded number of frames; yields Progress in [0,1].

        Raises V2M4Error when the clip does not suit the method.
        """
        ...

    def frame(self, clip: Clip, index: int) -> Bytes:
        """The object in frame ``index``: (S,S,4) uint8 RGBA, straight alpha, soft at the outline, its colours freed of
        the background's share there."""
        ...


@dataclass(frozen=True)
class Doubts:
    """What a method itself doubts in a frame. left_out: area of the largest thing beside the object that was dropped;
    hard_shadow: area of the object that may be a shadow with a hard edge; both as a share of the object's."""

    left_out: float = 0.0
    hard_shadow: float = 0.0


@runtime_checkable
class Doubting(Protocol):
    """A method that knows what is doubtful about its last frame."""

    doubts: Doubts


@runtime_checkable
class InAnyOrder(Protocol):
    """A method that may cut out several frames at once, each by a shallow copy of its own, where ``in_any_order``."""

    @property
    def in_any_order(self) -> bool: ...


@dataclass(frozen=True)
class Click:
    """A point of frame ``frame``; x, y in [0,1] of the picture without padding. belongs: whether it is the object."""

    frame: int
    x: float
    y: float
    belongs: bool


def parse_clicks(text: str) -> tuple[Click, ...]:
    """The clicks that ``matting.points`` describes. Raises V2M4Error for what is none."""
    found = []
    for part in filter(None, (p.strip() for p in text.split(";"))):
        try:
            frame, x, y, sign = part.split()
            click = Click(int(frame), float(x), float(y), {"+": True, "-": False}[sign])
        except (ValueError, KeyError):
            click = None
        if click is None or not (click.frame >= 0 and 0 <= click.x <= 1 and 0 <= click.y <= 1):
            raise V2M4Error(
                f"matting.points holds “{part}”, which is no click. Write “frame x y +” or “frame x y -”, with x and y "
                "from 0 to 1, separated by semicolons."
            )
        found.append(click)
    return tuple(found)


MATTINGS: dict[str, Plug[Matting]] = by_name(
    Plug("matting", "alpha", "v2m4.matting.alpha:Alpha", "The file's own transparency.", "MIT", True, 3),
    Plug(
        "matting",
        "flat",
        "v2m4.matting.flat:Flat",
        "An object before a plain background of any colour, by colour model and graph cut.",
        "MIT",
        True,
        2,
    ),
    Plug(
        "matting",
        "rembg",
        "v2m4.matting.rembg:Rembg",
        "Any object, by the network BiRefNet (rembg package).",
        "MIT",
        True,
        1,
        packages=("rembg", "onnxruntime"),
        check="v2m4.matting.rembg:is_ready",
        supply="v2m4.matting.rembg:fetch_weights",
        size_gb=1,
        bring='pip install "v2m4[rembg]"',
    ),
    Plug(
        "matting",
        "motion",
        "v2m4.matting.motion:Motion",
        "A moving object before a still or far background, by background model and graph cut; the camera may turn.",
        "MIT",
        True,
        0,
    ),
)
