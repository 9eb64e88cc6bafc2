"""Moving surfaces that can be compared: meshes that keep their faces, meshes of their own per frame, tracked points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from v2m4.arrays import Float64, Int64
from v2m4.errors import V2M4Error
from v2m4.evaluation.verdict import frame_ranges
from v2m4.geometry.sampling import draw_surface


@dataclass(frozen=True)
class Cloud:
    """Points (N,3) of a surface and its unit normals there (N,3); normals are None where nobody knows them."""

    points: Float64
    normals: Float64 | None


class MovingSurface(Protocol):
    """A surface in T poses."""

    def __len__(self) -> int:
        """Number of poses."""
        ...

    def draw(self, pose: int, count: int, rng: np.random.Generator) -> Cloud:
        """Points of one pose, evenly over its area."""
        ...

    def follow(self, count: int, rng: np.random.Generator) -> list[Cloud] | None:
        """The same points of the surface in every pose, even over its area in the first; None if it has none."""
        ...


@dataclass(frozen=True)
class SurfacePoints:
    """Points that stick to a surface: the face and the barycentric weights (N,3) of each."""

    face: Int64
    weights: Float64

    @staticmethod
    def draw(vertices: Float64, faces: Int64, count: int, rng: np.random.Generator) -> SurfacePoints:
        """``count`` points, evenly over the area of the mesh."""
        return SurfacePoints(*draw_surface(vertices, faces, count, rng))

    def on(self, vertices: Float64, faces: Int64) -> Float64:
        """Where the points are on vertices (V,3)."""
        return np.einsum("nk,nkc->nc", self.weights, vertices[faces[self.face]])

    def cloud(self, vertices: Float64, faces: Int64) -> Cloud:
        """The points on vertices (V,3), with the normals of their faces; zeros where a face has no area."""
        a, b, c = (vertices[faces[self.face, k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        return Cloud(
            self.on(vertices, faces), normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)
        )


@dataclass(frozen=True)
class MovingMesh:
    """Vertices (T,V,3) of faces (F,3)."""

    vertices: Float64
    faces: Int64

    def __len__(self) -> int:
        return len(self.vertices)

    def draw(self, pose: int, count: int, rng: np.random.Generator) -> Cloud:
        """See `MovingSurface`."""
        return SurfacePoints.draw(self.vertices[pose], self.faces, count, rng).cloud(self.vertices[pose], self.faces)

    def follow(self, count: int, rng: np.random.Generator) -> list[Cloud]:
        """See `MovingSurface`."""
        drawn = SurfacePoints.draw(self.vertices[0], self.faces, count, rng)
        return [drawn.cloud(vertices, self.faces) for vertices in self.vertices]


@dataclass(frozen=True)
class SeparateMeshes:
    """Vertices (V,3) and faces (F,3) of every pose, which have nothing to do with each other."""

    poses: Sequence[tuple[Float64, Int64]]

    def __len__(self) -> int:
        return len(self.poses)

    def draw(self, pose: int, count: int, rng: np.random.Generator) -> Cloud:
        """See `MovingSurface`."""
        return SurfacePoints.draw(*self.poses[pose], count, rng).cloud(*self.poses[pose])

    def follow(self, count: int, rng: np.random.Generator) -> None:
        """None: no point of one pose is known in another."""
        return


@dataclass(frozen=True)
class TrackedPoints:
    """Points (T,N,3) that stick to a surface nobody else knows, and its unit normals there (T,N,3) if they are."""

    points: Float64
    normals: Float64 | None = None

    def __post_init__(self) -> None:
        shape = self.points.shape
        if len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise V2M4Error(f"Tracked points must be (T,N,3) numbers, at least one, but are {shape}.")
        if not np.isfinite(self.points).all():
            wrong = np.flatnonzero(~np.isfinite(self.points).all(axis=(1, 2))).tolist()
            raise V2M4Error(f"Tracked points must be finite; those of the poses {frame_ranges(wrong)} are not.")
        if not np.ptp(self.points[0], axis=0).any():
            raise V2M4Error("Tracked points must span a surface, but in the first pose they are one point.")

    def __len__(self) -> int:
        return len(self.points)

    def draw(self, pose: int, count: int, rng: np.random.Generator) -> Cloud:
        """See `MovingSurface`: some of the points, all where there are no more."""
        return self._some(pose, rng.permutation(self.points.shape[1])[:count])

    def follow(self, count: int, rng: np.random.Generator) -> list[Cloud]:
        """See `MovingSurface`."""
        chosen = rng.permutation(self.points.shape[1])[:count]
        return [self._some(pose, chosen) for pose in range(len(self))]

    def _some(self, pose: int, chosen: Int64) -> Cloud:
        return Cloud(self.points[pose, chosen], None if self.normals is None else self.normals[pose, chosen])
