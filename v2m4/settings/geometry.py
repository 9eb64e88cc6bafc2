"""Numbers of the geometry that several sections share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from v2m4.settings.schema import Range


@dataclass(frozen=True)
class ManyCollapsesSettings:
    """Edges that a GPU collapses many at a time, before those that a processor collapses one at a time."""

    end: Annotated[float, Range(1, 1000)] = 3.0
    """They end where so many times the wanted faces are left."""
    cheap: Annotated[float, Range(0.01, 1)] = 0.5
    """Share of the edges, the cheapest, that a round considers."""
    classes: Annotated[int, Range(1, 1000)] = 8
    """Of cost, within which the order is an arbitrary one: costs differ so smoothly that few edges are the cheapest of
    all near them."""
    sets: Annotated[int, Range(1, 100)] = 2
    """Sets of edges, far enough from each other, that a round collapses."""
    to_middle: Annotated[float, Range(1e-6, 1)] = 1e-3
    """Pull of the new vertex to its edge's middle, against that to the surface's planes."""
    short_first: Annotated[float, Range(0, 1)] = 1e-4
    """Cost of an edge's squared length, against that of squared distances: where all is flat, short edges go first."""
    turn: Annotated[float, Range(-1, 1)] = 0.2
    """Cosine to its old normal that a face must keep."""
    roundness: Annotated[float, Range(0, 0.28)] = 0.01
    """Twice a face's area over the squares of its sides, 0.29 at most, below which no face is made less round."""


@dataclass(frozen=True)
class CleanupSettings:
    """What counts as debris in a mesh that a network made."""

    floater_area: Annotated[float, Range(0, 1)] = 0.01
    """A connected piece with less than this share of the largest piece's area is removed."""
    floater_faces: Annotated[float, Range(0, 1)] = 0.0
    """A connected piece with fewer faces than this share of the largest piece's is removed."""
    hole_edges: Annotated[int, Range(0, 1000000)] = 100
    """Holes with more edges than this stay open."""
    hole_size: Annotated[float, Range(0, 10)] = 0.1
    """Holes wider than this share of the object's diagonal stay open."""
    aggressiveness: Annotated[float, Range(1, 10)] = 5.0
    """How soon costly edge collapses are tried where the mesh is simplified; lower is slower and better."""
    many: ManyCollapsesSettings = field(default_factory=ManyCollapsesSettings)


@dataclass(frozen=True)
class MirrorSearchSettings:
    """The search for planes of mirror symmetry, by mirroring surface points and looking how far off the images lie."""

    directions: Annotated[int, Range(4, 100000)] = 150
    """Normals that are tried, spread over a half sphere."""
    points: Annotated[int, Range(10, 1000000)] = 1500
    """Points that are mirrored, where several planes are sought; where one is, all are."""
    planes: Annotated[int, Range(1, 100)] = 3
    """Planes that are kept, where several are sought."""
    candidates: Annotated[int, Range(1, 1000)] = 4
    """Best normals that are refined, where one plane is sought; where several are, twice as many as are kept."""
    rounds: Annotated[int, Range(0, 1000)] = 15
    """Rounds of closest points that refine a plane."""
    kept: Annotated[float, Range(0.01, 1)] = 0.7
    """Share of the points that must have a counterpart: limbs of a posed body have none."""
    tilt: Annotated[float, Range(0, 1)] = 0.1
    """First tilt, in radians, by which a refined plane is improved, where several are sought."""
    halvings: Annotated[int, Range(0, 30)] = 3
    """How often that tilt is halved once it improves nothing."""
    apart_deg: Annotated[float, Range(0, 90)] = 25.0
    """Planes closer than this count as one."""


@dataclass(frozen=True)
class CalmingSettings:
    """The smoothing over time of what a stage adds to a motion."""

    allowed: Annotated[float, Range(1, 1e6)] = 1.15
    """Mean acceleration afterwards, against that of the motion, up to which nothing is smoothed."""
    gentlest: Annotated[float, Range(1e-6, 1e6)] = 0.02
    """The least weight of the shifts' squared accelerations that is tried, against their distance to the given."""
    doublings: Annotated[int, Range(0, 100)] = 8
    """Times at most that it is doubled; at 0 nothing is smoothed."""
    told: Annotated[float, Range(1e-3, 1e6)] = 10.0
    """Weight of that distance where the picture tells of it, as beside the outline, against 1 elsewhere."""
