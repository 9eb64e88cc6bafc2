"""The image-to-mesh model: which, and the numbers of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from v2m4.settings.schema import PlugName, Range


@dataclass(frozen=True)
class InflateSettings:
    """The inflated silhouette."""

    faces: Annotated[int, Range(200, 200000)] = 6000
    """Triangles of the mesh."""
    thickness: Annotated[float, Range(0.05, 5)] = 1.0
    """1 gives limbs as deep as wide; less is flatter, more is rounder."""


@dataclass(frozen=True)
class SculptSettings:
    """The surface of the network that comes with the package."""

    faces: Annotated[int, Range(200, 200000)] = 8000
    """Triangles of the mesh, at most."""


@dataclass(frozen=True)
class TrellisSettings:
    """TRELLIS's sampling (Xiang et al. 2024)."""

    steps: Annotated[int, Range(1, 200)] = 25
    """Sampling steps of each of the two flows."""
    guidance: Annotated[float, Range(0, 50)] = 5.0
    """Guidance strength w of (1 + w) v(image) - w v(nothing)."""


@dataclass(frozen=True)
class TripoSgSettings:
    """TripoSG's sampling and surface (Li et al. 2025)."""

    steps: Annotated[int, Range(1, 200)] = 50
    """Sampling steps of the flow."""
    guidance: Annotated[float, Range(0, 50)] = 7.0
    """Guidance strength g of v(nothing) + g (v(image) - v(nothing)); 1 or less is none."""
    resolution: Annotated[int, Range(8, 1024)] = 512
    """Cells per side of the finest grid on which the surface is found."""
    coarsest: Annotated[int, Range(2, 1024)] = 63
    """The grid is halved while it keeps this many cells per side; finer grids are looked at near the surface only."""


@dataclass(frozen=True)
class Hunyuan3DSettings:
    """The sampling and surface of Hunyuan3D-2.0's shape half (Zhao et al. 2025)."""

    variant: Literal["base", "fast", "turbo"] = "base"
    """base: the paper's; fast: distilled to half the time; turbo: distilled to 5 to 10 steps (set steps)."""
    steps: Annotated[int, Range(2, 200)] = 50
    """Sampling steps of the flow."""
    guidance: Annotated[float, Range(-1, 50)] = 5.0
    """Guidance strength g of v(nothing) + g (v(image) - v(nothing)); below 0 is none."""
    resolution: Annotated[int, Range(8, 1024)] = 384
    """Cells per side of the finest grid on which the surface is found."""
    coarsest: Annotated[int, Range(2, 1024)] = 63
    """The grid is halved while it keeps this many cells per side; finer grids are looked at near the surface only. The
    paper's release looks everywhere (as much as the resolution)."""


@dataclass(frozen=True)
class CraftsMan3DSettings:
    """The sampling and surface of CraftsMan3D with Dora's vector sets (Li et al. 2024)."""

    steps: Annotated[int, Range(1, 200)] = 50
    """Sampling steps of the flow."""
    guidance: Annotated[float, Range(0, 50)] = 7.5
    """Guidance strength g of v(nothing) + g (v(image) - v(nothing)); 0 is none."""
    resolution: Annotated[int, Range(8, 1024)] = 256
    """Cells per side of the finest grid on which the surface is found."""
    coarsest: Annotated[int, Range(2, 1024)] = 63
    """The grid is halved while it keeps this many cells per side; finer grids are looked at near the surface only."""


@dataclass(frozen=True)
class GeneratorSettings:
    """The image-to-mesh model."""

    name: Annotated[str, PlugName("generator")] = "auto"
    """inflate, sculpt, template, trellis, triposg, hunyuan3d, craftsman3d, or auto: the best that can run here."""
    template: Path | None = None
    """Your own mesh (GLB, OBJ, PLY) as the object's shape: the video animates it. Implies the template generator."""
    max_faces: Annotated[int, Range(100, 1000000)] = 10000
    """Meshes with more faces are simplified to this many."""
    inflate: InflateSettings = field(default_factory=InflateSettings)
    sculpt: SculptSettings = field(default_factory=SculptSettings)
    trellis: TrellisSettings = field(default_factory=TrellisSettings)
    triposg: TripoSgSettings = field(default_factory=TripoSgSettings)
    hunyuan3d: Hunyuan3DSettings = field(default_factory=Hunyuan3DSettings)
    craftsman3d: CraftsMan3DSettings = field(default_factory=CraftsMan3DSettings)
