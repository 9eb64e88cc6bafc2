"""What is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from v2m4.settings.schema import Range


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
