"""The image-to-mesh model: which, and the numbers of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from v2m4.settings.geometry import CleanupSettings
from v2m4.settings.schema import PlugName, Range, Share


@dataclass(frozen=True)
class OutlineSettings:
    """How the outline is traced, and how long edges may be along it; lengths in working pixels."""

    blur: Annotated[float, Range(0.01, 20)] = 0.8
    """Standard deviation of the blur of the mask before it is traced."""
    smoothing: Annotated[float, Range(0.01, 20)] = 1.2
    """Standard deviation of the smoothing along the outline, against the pixels' stairs."""
    least_pixels: Annotated[int, Range(0, 10000)] = 12
    """Pieces and holes of fewer pixels are noise, however small the object."""
    width_edge: Annotated[float, Range(0.01, 10)] = 0.85
    """Longest edge where the object is narrow, in its half widths."""
    gap_edge: Annotated[float, Range(0.01, 10)] = 1.2
    """Longest edge beside a narrow gap, in its half widths."""
    along: Annotated[float, Range(0.01, 10)] = 0.35
    """What the longest edge may grow by per pixel along the outline."""
    inwards: Annotated[float, Range(0, 10)] = 0.5
    """What it grows by per pixel away from the outline."""
    samples: Annotated[int, Range(100, 100000)] = 1000
    """Places on the outline whose widths are measured: as many, or up to twice."""


@dataclass(frozen=True)
class MeshingSettings:
    """How both sides are triangulated, evenly on the curved surface (Botsch and Kobbelt 2004)."""

    from_rim: Annotated[float, Range(0, 2)] = 0.6
    """Distance of inner points from the outline, in edges."""
    apart: Annotated[float, Range(0.1, 2)] = 0.9
    """Their distance from each other, in edges."""
    split: Annotated[float, Range(1, 10)] = 1.45
    """Edges that are more than so many times as long as wanted are split."""
    collapse: Annotated[float, Range(0, 1)] = 0.45
    """Edges that are less than so many times as long as wanted are collapsed."""
    relaxation: Share = 0.7
    """Share of the way to the middle of its neighbourhood that a vertex moves in each round."""
    split_rounds: Annotated[int, Range(1, 100)] = 8
    """Rounds of splitting, flipping and relaxing, at most."""
    collapse_rounds: Annotated[int, Range(0, 100)] = 4
    """Rounds of collapsing, flipping and relaxing."""
    coarser: Annotated[float, Range(1, 10)] = 1.2
    """Where narrow parts eat up the faces their edges are first made so many times longer..."""
    coarsest: Annotated[float, Range(1, 10)] = 1.45
    """... and then so many times."""
    eaten_up: Annotated[float, Range(1, 10)] = 1.6
    """They do where the other edges would be more than so many times as long as if all were alike."""
    longest: Annotated[float, Range(1, 10)] = 2.5
    """No edge is made more than so many times that long."""
    count_tolerance: Share = 0.15
    """A mesh whose number of faces misses the wanted one by more than this share is made once more."""


@dataclass(frozen=True)
class BackSettings:
    """What an inflated object looks like where the picture does not show it well: behind, and where it is steep."""

    own_mirror: Annotated[float, Range(0, 1.01)] = 0.75
    """What is clearly longer than high and overlaps its own mirror image less than this is seen from its side: its far
    side gets the picture's details too. 0: nothing does."""
    longer: Annotated[float, Range(0, 100)] = 1.2
    """How many times longer than high it must be."""
    steep_cosine: Annotated[float, Range(0, 1)] = 0.15
    """Cosine between normal and line of sight up to which a place takes the large areas of colour: the picture's
    details would be drawn out to streaks."""
    facing_cosine: Annotated[float, Range(0, 1)] = 0.4
    """Cosine from which it takes the picture itself."""
    even_px: Annotated[float, Range(0.1, 100)] = 1.5
    """Working pixels over which the surface is smoothed before its normals are taken."""
    narrowest: Annotated[float, Range(0.1, 100)] = 5.0
    """Width of the smallest neighbourhood whose prevailing colour is looked for, in cells of the grid."""
    levels: Annotated[int, Range(2, 10)] = 4
    """Widths of the neighbourhoods that are looked at, each twice the one before."""
    width: Annotated[float, Range(0.01, 10)] = 0.8
    """Width of a place's neighbourhood, in its distances from the outline..."""
    behind: Annotated[float, Range(0.01, 10)] = 1.6
    """... and on the far side of what is not seen from its side, in the radius of the part."""
    inner_vote: Share = 0.05
    """How much the colours far from the outline count, against about 1 at it."""
    rim_votes: Annotated[float, Range(0.01, 10)] = 0.15
    """Distance from the outline over which a colour's vote falls by e, in the greatest such distance."""
    thick_vote: Annotated[float, Range(0, 10)] = 0.4
    """Power of a part's radius in its colours' votes for the far side: feet do not colour the trunk."""
    seam_px: Annotated[float, Range(0.1, 100)] = 3.0
    """Working pixels from the outline over which those become what the near side shows at it."""
    sharpness: Annotated[int, Range(1, 20)] = 8
    """Power of a colour's votes in its weight: the higher, the harder the borders between colours."""


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
    smoothing: Annotated[float, Range(0.01, 20)] = 1.5
    """Width in cells of the grid over which the thickness is smoothed."""
    beyond: Annotated[float, Range(0.01, 100)] = 2.0
    """Width in cells over which it is continued just beyond the outline..."""
    far_beyond: Annotated[float, Range(0.01, 100)] = 6.0
    """... and further out."""
    outline: OutlineSettings = field(default_factory=OutlineSettings)
    meshing: MeshingSettings = field(default_factory=MeshingSettings)
    back: BackSettings = field(default_factory=BackSettings)


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
    aggressiveness: Annotated[float, Range(1, 10)] = 5.0
    """How soon costly edge collapses are tried where the mesh is simplified; lower is slower and better."""


@dataclass(frozen=True)
class SolidSettings:
    """From the network's answer to a closed surface; lengths in widths of the square that it sees."""

    columns_most: Annotated[float, Range(0.01, 1)] = 0.3
    """How far the probability of a place is heard."""
    layers_most: Annotated[float, Range(0.001, 1)] = 0.03
    """How far its distance from the nearest entry or exit is heard."""
    columns_share: Annotated[float, Range(0, 10)] = 0.1
    """Length that a probability of 1 counts as, against that distance."""
    thinnest: Annotated[float, Range(0, 1)] = 0.018
    """No part is thinner than this: what is thinner falls between the network's slices."""
    band: Annotated[float, Range(0.001, 1)] = 0.03
    """Distances are clipped here, so that between near and far parts the surface stays halfway."""
    depth_nodes: Annotated[int, Range(1, 10)] = 2
    """Nodes of the grid along the depth per slice of the network."""
    shrink: Annotated[float, Range(0.01, 0.99)] = 0.6
    """First step of a round of smoothing, inwards (Taubin 1995)..."""
    grow: Annotated[float, Range(0.01, 0.99)] = 0.62
    """... and second step, outwards."""
    least_piece: Share = 0.01
    """Pieces with less than this share of the largest piece's area are dropped."""
    aggressiveness: Annotated[float, Range(1, 10)] = 5.0
    """How soon costly edge collapses are tried where the mesh is simplified; lower is slower and better."""


@dataclass(frozen=True)
class SolidColorSettings:
    """What the solid looks like: the picture where it shows a place, else the network's colours."""

    depth_size: Annotated[int, Range(16, 4096)] = 512
    """Side of the depth picture that tells what is hidden, in pixels."""
    hidden: Annotated[float, Range(0, 1)] = 0.02
    """A place so much behind that picture is hidden, in widths of the square."""
    steep_cosine: Annotated[float, Range(-1, 1)] = 0.12
    """Cosine to the ray up to which a place takes the network's colour..."""
    facing_cosine: Annotated[float, Range(-1, 1)] = 0.4
    """... and from which it takes the picture's."""
    rim: Annotated[float, Range(1, 100)] = 6.0
    """Cells from the outline, at most, within which near and far side show about the same colour."""
    darkest: Annotated[float, Range(0.01, 1)] = 0.4
    """By that the network's colours are made darker, to no less than this share..."""
    brightest: Annotated[float, Range(1, 100)] = 2.5
    """... or brighter, to no more than this."""
    evenness: Annotated[float, Range(0.1, 100)] = 3.0
    """Width in cells over which that is smoothed."""
    floor: Annotated[float, Range(1e-4, 1)] = 0.02
    """Brightness, of 1, that is added to both before they are compared: dark colours tell little."""


@dataclass(frozen=True)
class LeanSettings:
    """How far the object is turned towards the camera, as several keyframes tell it."""

    others: Annotated[int, Range(0, 100)] = 0
    """Other keyframes that are looked at, at most; 0: the picture alone tells."""
    seconds: Annotated[float, Range(0, 3600)] = 1.0
    """How far away in time they may be: later the object may have turned."""
    agreement: Annotated[float, Range(0.5, 1)] = 0.8
    """Share of the pictures that must lean to the same side; else only the own picture counts."""
    quantile: Share = 0.5
    """Where so many agree: the share of pictures that lean less than what is at least believed."""
    worst: Annotated[float, Range(0.001, 10)] = 0.12
    """Error of the depths in widths of the square beyond which one is as bad as another: the less, the likelier a clear
    reading is preferred to the middle of two."""


@dataclass(frozen=True)
class SliverSettings:
    """Small pieces of the visible surface, cut off by steps of its depth: they take the depths beside them."""

    steep: Annotated[float, Range(0.1, 1e6)] = 3.0
    """Depth per length between two cells of the network's grid beyond which they do not hang together."""
    least: Share = 0.02
    """A piece that is a smaller share of the object is a sliver; 0: none is..."""
    specks: Annotated[int, Range(1, 10000)] = 12
    """... but fewer cells together are specks, which the median takes care of."""


@dataclass(frozen=True)
class SculptSettings:
    """The surface of the network that comes with the package."""

    form: Literal["sheet", "solid"] = "sheet"
    """sheet: the outline inflated around the network's depths, meshed as generator.inflate says; solid: all that the
    network sees, hidden limbs too, on a rougher surface."""
    mirrored: bool = True
    """The network also sees the picture's mirror image, and both answers are averaged: twice the time."""
    own_depth: Annotated[float, Range(0, 1)] = 0.75
    """Sheet: how much the network decides how deep the object is; the rest is as deep as its outline is wide."""
    evenness: Annotated[float, Range(0.3, 10)] = 1.5
    """Sheet: width in cells of the network's grid over which its depths are smoothed."""
    opaque: Share = 0.95
    """Opacity from which a ray's depths and colours count as learnt: at the very rim they are not."""
    middle_median: Annotated[int, Range(1, 99)] = 5
    """Sheet: side of the square of cells over whose median the middle of the layers is taken, against specks."""
    half_median: Annotated[int, Range(1, 99)] = 3
    """Sheet: the same for their half depth."""
    thinnest: Annotated[float, Range(1e-4, 1)] = 0.002
    """Sheet: half depth below which the network is not believed, in widths of the square."""
    faces: Annotated[int, Range(200, 200000)] = 8000
    """Solid: triangles of the mesh, at most."""
    resolution: Annotated[int, Range(64, 512)] = 256
    """Solid: nodes per side of the grid on which the surface is found: the finer, the sharper its outline."""
    smoothing: Annotated[int, Range(0, 500)] = 40
    """Solid: rounds in which the network's grain is smoothed away along the picture's rays."""
    texture_size: Annotated[int, Range(64, 8192)] = 1024
    """Solid: side of the texture."""
    lean: LeanSettings = field(default_factory=LeanSettings)
    slivers: SliverSettings = field(default_factory=SliverSettings)
    solid: SolidSettings = field(default_factory=SolidSettings)
    colors: SolidColorSettings = field(default_factory=SolidColorSettings)


@dataclass(frozen=True)
class TrellisSettings:
    """TRELLIS's sampling (Xiang et al. 2024)."""

    steps: Annotated[int, Range(1, 200)] = 12
    """Sampling steps of each of the two flows: the authors' demo takes 12, their checkpoint's configuration says 25."""
    guidance: Annotated[float, Range(0, 50)] = 5.0
    """Guidance strength w of (1 + w) v(image) - w v(nothing)."""
    remember: bool = True
    """Whether refinement on a GPU keeps what the flow's slopes need, instead of computing it again: 2 GB more, and each
    iteration a tenth faster."""


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
