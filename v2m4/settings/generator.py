"""The image-to-mesh model: which, and the numbers of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from v2m4.settings.geometry import CleanupSettings
from v2m4.settings.schema import PlugName, Range


@dataclass(frozen=True)
class InflateSettings:
    """The inflated silhouette."""

    faces: Annotated[int, Range(200, 200000)] = 6000
    """Triangles of the mesh."""
    thickness: Annotated[float, Range(0.05, 5)] = 1.0
    """1 gives limbs and trunk as deep as wide; less is flatter, more is rounder."""
    trunk: Annotated[float, Range(0.01, 10)] = 0.4
    """Half thickness beyond which the trunk is flattened, as a share of the object's mean side."""
    working_size: Annotated[int, Range(50, 1600)] = 400
    """Longer side of the object in the picture that is traced, in working pixels: thinner limbs want more."""
    shortest_edge: Annotated[float, Range(0.5, 50)] = 2.0
    """No edge of the outline is made shorter than this, in working pixels."""
    least_area: Annotated[float, Range(0, 0.5)] = 0.0015
    """Pieces and holes smaller than this share of the object are noise."""
    grid: Annotated[float, Range(1, 20)] = 2.5
    """Working pixels per cell of the grid on which the thickness is found."""
    palette: Annotated[int, Range(1, 64)] = 6
    """Colours told apart when the far side is filled."""


@dataclass(frozen=True)
class TemplateSettings:
    """How your own mesh is read."""

    largest_texture: Annotated[int, Range(256, 8192)] = 4096
    """Side of the largest texture into which several materials are merged, in texels."""
    most_repeats: Annotated[int, Range(1, 64)] = 4
    """A picture that repeats across the mesh is repeated in the texture at most so often each way."""
    grey: Annotated[float, Range(0, 1)] = 0.7
    """Brightness of parts that have no colour of their own."""
    atlas_size: Annotated[int, Range(64, 8192)] = 1024
    """Side of the texture that a simplified mesh gets, in texels."""
    surface_points: Annotated[int, Range(1000, 10000000)] = 600000
    """Points on the mesh among which the nearest to each texel of that texture is sought."""


@dataclass(frozen=True)
class SculptSettings:
    """The surface of the network that comes with the package."""

    form: Literal["sheet", "solid"] = "sheet"
    """sheet: the outline inflated around the network's depths, meshed as generator.inflate says; solid: all that the
    network sees, hidden limbs too, on a rougher surface."""
    own_depth: Annotated[float, Range(0, 1)] = 0.75
    """Sheet: how much the network decides how deep the object is; the rest is as deep as its outline is wide."""
    evenness: Annotated[float, Range(0.3, 10)] = 1.5
    """Sheet: width in cells of the network's grid over which its depths are smoothed."""
    faces: Annotated[int, Range(200, 200000)] = 8000
    """Solid: triangles of the mesh, at most."""
    resolution: Annotated[int, Range(64, 512)] = 256
    """Solid: nodes per side of the grid on which the surface is found: the finer, the sharper its outline."""
    smoothing: Annotated[int, Range(0, 500)] = 40
    """Solid: rounds in which the network's grain is smoothed away along the picture's rays."""
    texture_size: Annotated[int, Range(64, 8192)] = 1024
    """Solid: side of the texture."""


@dataclass(frozen=True)
class TrellisSettings:
    """TRELLIS's sampling (Xiang et al. 2024)."""

    steps: Annotated[int, Range(1, 200)] = 25
    """Sampling steps of each of the two flows."""
    guidance: Annotated[float, Range(0, 50)] = 5.0
    """Guidance strength w of (1 + w) v(image) - w v(nothing)."""


@dataclass(frozen=True)
class TripoSRSettings:
    """TripoSR's surface (Tochilkin et al. 2024)."""

    grid: Annotated[int, Range(16, 1024)] = 256
    """Samples of the density along each axis."""
    stride: Annotated[int, Range(1, 64)] = 4
    """Samples between those of the coarse grid that finds the surface; 1 takes every sample."""
    threshold: Annotated[float, Range(1e-6, 1e6)] = 25.0
    """Density at which the surface lies."""


@dataclass(frozen=True)
class HttpSettings:
    """A mesh server that is asked over HTTP; docs/http-generator.md describes both forms."""

    url: str | None = None
    """Address of the server, for example “http://127.0.0.1:8080”."""
    form: Literal["trellis.cpp", "plain"] = "trellis.cpp"
    """trellis.cpp: a form with the picture goes to /generate; plain: the picture itself goes to the address given."""
    timeout_s: Annotated[float, Range(0.1, 86400)] = 600.0
    """How long one mesh may take, in seconds."""
    megabytes: Annotated[float, Range(0.001, 4096)] = 200.0
    """Larger answers are refused."""
    retries: Annotated[int, Range(0, 20)] = 2
    """Further attempts where the server cannot be reached or says that it is busy."""


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
    noise: Annotated[float, Range(0, 1)] = 0.0
    """For studies: Gaussian noise on the vertices of every mesh that is made, as a share of its box's diagonal."""
    cleanup: CleanupSettings = field(default_factory=CleanupSettings)
    vecset_cleanup: CleanupSettings = field(
        default_factory=lambda: CleanupSettings(floater_area=0.0, floater_faces=0.005)
    )
    inflate: InflateSettings = field(default_factory=InflateSettings)
    sculpt: SculptSettings = field(default_factory=SculptSettings)
    own_mesh: TemplateSettings = field(default_factory=TemplateSettings)
    trellis: TrellisSettings = field(default_factory=TrellisSettings)
    triposr: TripoSRSettings = field(default_factory=TripoSRSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    triposg: TripoSgSettings = field(default_factory=TripoSgSettings)
    hunyuan3d: Hunyuan3DSettings = field(default_factory=Hunyuan3DSettings)
    craftsman3d: CraftsMan3DSettings = field(default_factory=CraftsMan3DSettings)
