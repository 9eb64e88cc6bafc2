"""The result of a run: one mesh whose vertices move."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import torch
from torch import Tensor

from v2m4.geometry.mesh import Mesh


@dataclass(frozen=True)
class Animation:
    """Positions of one mesh's vertices at the keyframes; linear in between (section 4.5 of the paper).

    vertices: (K,V,3) float32, in the space of the reference camera (x right, y down, z forward).
    times: K seconds from the clip's first frame, strictly increasing.
    mesh: topology, uv and texture (or colours); its own vertices are those of the first keyframe.
    duration: seconds the clip lasts, its last frame included. name: the clip's name.
    keyframes: index in the clip of every keyframe's frame (empty when the poses belong to no clip).
    """

    vertices: Tensor
    times: tuple[float, ...]
    mesh: Mesh
    duration: float
    name: str
    keyframes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.vertices.ndim != 3 or self.vertices.shape[1:] != self.mesh.vertices.shape:
            raise ValueError(
                f"vertices must be (K, {len(self.mesh.vertices)}, 3) as the mesh's, not {tuple(self.vertices.shape)}"
            )
        if not len(self.vertices) or len(self.times) != len(self.vertices):
            raise ValueError(
                f"{len(self.vertices)} poses need as many times, and there must be one; got {len(self.times)}"
            )
        if any(b <= a for a, b in zip(self.times, self.times[1:], strict=False)):
            raise ValueError("the times of the poses must increase")

    def __len__(self) -> int:
        """Number of keyframes."""
        return len(self.times)

    def at(self, time: float) -> Tensor:
        """(V,3) the vertices at ``time`` in seconds; the first and last poses hold before and after."""
        if time <= self.times[0]:
            return self.vertices[0]
        if time >= self.times[-1]:
            return self.vertices[-1]
        after = bisect_right(self.times, time)
        start, end = self.times[after - 1], self.times[after]
        return torch.lerp(self.vertices[after - 1], self.vertices[after], (time - start) / (end - start))

    def mesh_at(self, time: float) -> Mesh:
        """The mesh as it is at ``time``."""
        return self.mesh.with_vertices(self.at(time))
