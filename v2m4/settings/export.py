"""What is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from v2m4.settings.schema import Range


@dataclass(frozen=True)
class VerdictSettings:
    """When a result is called weak or good: by its overlap with the video's masks, torn and crumpled
    faces, and colours."""

    weak_mean: Annotated[float, Range(0, 1)] = 0.7
    """A result is weak if the mean overlap over the frames that show the object is less than this."""
    weak_frame: Annotated[float, Range(0, 1)] = 0.5
    """A frame is lost if its overlap is less than this."""
    weak_share: Annotated[float, Range(0, 1)] = 0.15
    """A result is weak if more than this share of the frames that show the object is lost, and not good if that share
    differs from the video's colours."""
    good_mean: Annotated[float, Range(0, 1)] = 0.85
    """A result is good if the mean overlap is at least this, it has no lost frame, and nothing warned."""

    weakest_within: Annotated[float, Range(0, 1)] = 0.02
    """Frames next to the worst one count among the weakest if their overlap is at most this much better, unless half
    of all frames do."""
    stretched: Annotated[float, Range(1, 100)] = 3.0
    """A face counts as stretched if some pose draws it out to more than so many times some length, and as crumpled if
    some pose presses it to less than one part in so many."""
    torn: Annotated[float, Range(0, 1)] = 0.01
    """A result is good only if at most this share of its faces is stretched or flipped in some pose."""
    crumpled: Annotated[float, Range(0, 1)] = 0.1
    """A result is good only if at most this share of its faces is crumpled in some pose. Artists' own animations have
    up to 7 %, where joints bend."""
    good_psnr: Annotated[float, Range(0, 100)] = 15.0
    """A result is good only if the PSNR of its pictures, over both outlines, is at least this on average (dB), and
    not less in more than `weak_share` of the frames."""


@dataclass(frozen=True)
class ExportSettings:
    """What is written."""

    quantise: bool = False
    """Store positions as 16-bit integers (KHR_mesh_quantization): smaller, opens in most viewers."""
    morph_normals: bool = False
    """Add normals to every morph target: better shading, twice the size."""
    texture_format: Literal["png", "jpeg"] = "png"
    """png is exact; jpeg is a third of the size."""
    material: Literal["auto", "unlit", "lit"] = "auto"
    """unlit (KHR_materials_unlit) shows the texture's colours as they are, since they hold the video's light; lit adds
    the viewer's light; auto: unlit where the texture comes from the video."""
    per_frame: Literal["none", "glb", "obj"] = "none"
    """Also write one still mesh per frame."""
    preview: bool = True
    """Write a video of the input and the re-render side by side."""
    preview_size: Annotated[int, Range(32, 2048)] = 512
    """Side of each of the preview's pictures, in pixels."""
    verdict: VerdictSettings = field(default_factory=VerdictSettings)
