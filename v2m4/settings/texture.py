"""Section 4.4: one texture for all keyframes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from v2m4.settings.geometry import MirrorSearchSettings
from v2m4.settings.schema import Range


@dataclass(frozen=True)
class ProjectSettings:
    """The frames blended into the atlas: each part of the surface from the frame that sees it best."""

    anchor_bonus: Annotated[float, Range(1, 1000)] = 2.5
    """How many times better another frame must see a place to be taken instead of the anchor."""
    label_smoothing: Annotated[int, Range(0, 1000)] = 4
    """Rounds in which the frames' scores, and the borders between them, are averaged over the surface."""
    grazing_cosine: Annotated[float, Range(0, 1)] = 0.12
    """Cosine between normal and line of sight up to which a frame is not trusted with a place at all."""
    facing_cosine: Annotated[float, Range(0, 1)] = 0.4
    """Cosine between normal and line of sight from which a frame is trusted fully."""
    edge_near_px: Annotated[float, Range(0, 100)] = 0.5
    """Distance to the nearest silhouette, in pixels of the frame, up to which a pixel is not trusted at all."""
    edge_far_px: Annotated[float, Range(0, 100)] = 2.0
    """Distance to the nearest silhouette, in pixels of the frame, from which a pixel is trusted fully."""
    opaque: Annotated[int, Range(0, 255)] = 240
    """Alpha, of 255, above which a pixel shows nothing but the object."""
    depth_jump: Annotated[float, Range(0, 10)] = 0.02
    """Depth, in sizes of the object, that must jump between pixels to be the silhouette of a limb before another."""
    depth_tolerance: Annotated[float, Range(0, 10)] = 0.005
    """Depth, in sizes of the object, within which a place counts as the one that a pixel shows."""
    overlap_power: Annotated[int, Range(0, 100)] = 3
    """A frame's quality grows with this power of the overlap of mesh and object in it."""
    sharpness_weight: Annotated[float, Range(0, 1)] = 0.5
    """Share of a frame's quality that it has by being as sharp as the sharpest."""
    sure: Annotated[float, Range(0.001, 1)] = 0.5
    """Trust from which a place counts as fully seen."""


@dataclass(frozen=True)
class OptimiseSettings:
    """The paper's gradient descent over views."""

    views: Annotated[int, Range(1, 10000)] = 100
    """Renderings of the first mesh's own look that are fitted beside the frames."""
    orbit_radius: Annotated[float, Range(0.1, 100)] = 2.0
    """Distance of those renderings' cameras, in units of the mesh's longest side."""
    orbit_size: Annotated[int, Range(16, 4096)] = 512
    """Side of those renderings, in pixels."""
    iterations: Annotated[int, Range(1, 1000000)] = 2500
    """Steps of Adam, one view each."""
    lr: Annotated[float, Range(1e-8, 10)] = 1e-2
    """Adam's rate at the start; it falls to lr_end along half a cosine."""
    lr_end: Annotated[float, Range(0, 10)] = 1e-5
    """Adam's rate at the end."""
    beta1: Annotated[float, Range(0, 0.9999)] = 0.5
    """Adam's memory of the gradient, as a share kept per step."""
    beta2: Annotated[float, Range(0, 0.99999)] = 0.9
    """Adam's memory of the squared gradient, as a share kept per step."""
    tv_weight: Annotated[float, Range(0, 1000)] = 0.01
    """Weight of the texture's total variation."""
    reference_weight: Annotated[float, Range(0, 1000)] = 2.0
    """Weight of the frames against the renderings."""
    seen: Annotated[float, Range(0, 1000)] = 0.25
    """Texels that all views together touched with less than so many of their pixels are filled."""
    opaque: Annotated[float, Range(0, 1)] = 0.95
    """Alpha above which a pixel of a view shows nothing but the object."""


@dataclass(frozen=True)
class MirrorFillSettings:
    """When colours may be taken from their mirror images: where the shape has one plane, or the colours tell which."""

    points: Annotated[int, Range(100, 1000000)] = 10000
    """Points on the surface by which its planes are found."""
    error: Annotated[float, Range(0, 10)] = 0.06
    """Largest error of a plane, in units of the shape's spread; a posed animal has about 0.02."""
    clearly: Annotated[float, Range(1, 100)] = 1.6
    """By which factor the next plane's error must be larger for the best one to be the only one."""
    noticeable: Annotated[float, Range(0, 1)] = 0.004
    """Difference of the errors over all points that tells two planes apart, in the same units."""
    seen: Annotated[float, Range(0, 1)] = 0.5
    """Trust above which a point counts as seen."""
    fewest: Annotated[int, Range(1, 1000000)] = 10
    """Seen points without which no plane is believed."""
    both_sides: Annotated[float, Range(0, 1)] = 0.04
    """Share of the seen points that must be seen on both sides of a plane for their colours to tell."""
    agree: Annotated[float, Range(0, 10)] = 0.55
    """Colours agree if they differ by less than this share of what any two points differ by."""
    disagree: Annotated[float, Range(0, 10)] = 0.9
    """The only plane is not believed if they differ by more than this share."""
    upright: Annotated[float, Range(0, 1)] = 0.5
    """Largest sine of the tilt of a plane that counts as upright."""
    reach: Annotated[float, Range(0, 10)] = 0.08
    """How far beside a mirror image a point may lie, in units of the shape's spread."""
    facing_cosine: Annotated[float, Range(-1, 1)] = 0.4
    """Least cosine between a normal and its mirror image."""
    search: MirrorSearchSettings = field(default_factory=MirrorSearchSettings)


@dataclass(frozen=True)
class FillSettings:
    """What the parts look like that no view shows."""

    samples: Annotated[int, Range(1, 10000000)] = 8000
    """Faces are subdivided until the surface has about so many pieces, each with its own colour."""
    palette: Annotated[int, Range(0, 256)] = 8
    """Colours that are told apart when a mesh without a look of its own is filled; 0: they are mixed smoothly."""
    mirror: bool = True
    """Parts of a mesh without a look of its own first take the colours of their mirror images, if it has a left and a
    right."""
    unlike: Annotated[float, Range(1e-6, 1000)] = 0.1
    """Where the mesh brought a look of its own, that is shifted to meet what was seen; shifts that differ by more than
    this from the usual one are not continued."""
    held_from: Annotated[float, Range(0, 1)] = 0.3
    """Trust above which a colour that was seen is held while the others are continued from it."""
    hold: Annotated[float, Range(0.001, 1e6)] = 50.0
    """How strongly, against the pull of neighbouring pieces."""
    sharpness: Annotated[int, Range(0, 100)] = 3
    """Power of a palette colour's share in its weight: the higher, the harder the borders between colours."""
    mirroring: MirrorFillSettings = field(default_factory=MirrorFillSettings)


@dataclass(frozen=True)
class OwnAtlasSettings:
    """When a mesh's own texture coordinates can hold a texture made from pictures."""

    overlap: Annotated[float, Range(0, 1)] = 0.03
    """Share by which its charts may seem to overlap, from counting texels."""
    faintest: Annotated[float, Range(0, 1)] = 1 / 16
    """Parts with less than this share of the mean texel density count as bare."""
    bare: Annotated[float, Range(0, 1)] = 0.05
    """Share of the surface that may be bare."""


@dataclass(frozen=True)
class TextureSettings:
    """Section 4.4: one texture for all keyframes."""

    method: Literal["optimise", "project"] = "project"
    """optimise: gradient descent over views, as the paper does; project: blend the frames into the atlas directly."""
    size: Annotated[int, Range(16, 8192)] = 1024
    """Side of the texture, in texels."""
    keep_template: bool = True
    """Your own mesh keeps the texture or colours it came with; False paints it anew from the video."""
    own_atlas: OwnAtlasSettings = field(default_factory=OwnAtlasSettings)
    project: ProjectSettings = field(default_factory=ProjectSettings)
    optimise: OptimiseSettings = field(default_factory=OptimiseSettings)
    fill: FillSettings = field(default_factory=FillSettings)
