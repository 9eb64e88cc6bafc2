"""The mending of the registered poses: where the surface is torn, it goes as its surroundings do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from v2m4.settings.geometry import CalmingSettings
from v2m4.settings.schema import Range


@dataclass(frozen=True)
class MendingSettings:
    """Torn places of the mesh that follows the video; the paper has none, nor does its way of registration."""

    enabled: bool = True
    """Whether torn places are mended at all."""
    most_stretch: Annotated[float, Range(1, 100)] = 2.9
    """Faces that are drawn out to more than so many times some length are torn; so are those that turn over."""
    least_stretch: Annotated[float, Range(0, 1)] = 0.4
    """Faces of a mesh made from a picture that are squeezed to less than this share of some length, against half of all
    faces, are crumpled, and let go like torn ones; 0 lets none go for that."""
    growth: Annotated[int, Range(0, 1000)] = 8
    """Times that what is let go grows by a ring of vertices, where faces are still torn."""
    iterations: Annotated[int, Range(1, 1000)] = 5
    """Rounds in which what was let go takes a shape as rigid as possible (ARAP), after each growth."""
    loose_hold: Annotated[float, Range(1e-6, 1e6)] = 0.01
    """How firmly vertices of a separate piece that is let go as a whole keep their place, against how its edges keep
    theirs."""
    polish: Annotated[int, Range(0, 1000)] = 25
    """What is torn even then is smoothed and shrunk face by face, until so many rounds have not made it less."""
    fits: Annotated[int, Range(0, 100)] = 3
    """Times, at most, that a mended pose is drawn to its frame's outline again, and mended where that tears it."""
    fit_size: Annotated[int, Range(32, 4096)] = 256
    """Side of the picture in which that happens, in pixels."""
    fit_rings: Annotated[int, Range(0, 100)] = 3
    """Rings of vertices around what was mended over which that fades."""
    torn_weight: Annotated[float, Range(0, 1000)] = 6.0
    """Overlap with the outline that faces still torn outweigh, by their share, where the best such round is kept."""
    restorations: Annotated[int, Range(0, 100)] = 3
    """Rounds in which each face that is torn even at last takes its shape at rest, with the vertices about it."""
    restored_rings: Annotated[int, Range(1, 100)] = 2
    """Rings of vertices about a face, at most, that take it too; all the way, half or a quarter of it."""
    restored_reach: Annotated[int, Range(1, 1000)] = 4
    """Rings around these, at most, that go as rigidly as they can then: half and a quarter as many are tried too."""
    calming: CalmingSettings = field(default_factory=CalmingSettings)
