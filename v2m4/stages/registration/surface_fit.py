"""The last touch of registration by video: every vertex is shifted across the view until pictures and outlines agree.

The nodes of an embedded deformation bring the surface to within a pixel or two; a texture shared by all frames shows
even that as blur. So once they have settled, flow and outline are measured again at full size, and a smooth shift
of all vertices (a thin plate, solved directly) follows them. Depths stay as they are.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix, identity
from scipy.sparse.linalg import splu

from v2m4.clip import Clip
from v2m4.geometry.camera import Camera
from v2m4.stages.registration.correspondences import (
    View,
    Visible,
    flow_matches,
    look_up,
    make_view,
    match_outlines,
    see,
    to_pixels,
)

Floats = NDArray[np.float64]
_HOLD = 1e-2  # keeps vertices that nothing is known about where they are
_LONGEST = 0.02  # of the object's size: no vertex is shifted further in one round


class SurfaceFit:
    """Fits poses of one mesh to frames of its clip.

    vertices: (V,3) at the anchor frame, in camera space. smoothness: weight of the thin plate. size: side of the
    pictures that are compared, in pixels. background: the grey behind the object.
    """

    def __init__(
        self,
        vertices: Floats,
        faces: NDArray[np.int64],
        clip: Clip,
        anchor: int,
        *,
        size: int,
        background: float,
        smoothness: float,
        rounds: int,
    ) -> None:
        self.faces = faces
        self.clip = clip
        self.anchor = anchor
        self.size = min(size, clip.side)
        self.background = background
        self.smoothness = smoothness
        self.rounds = rounds
        self.scale = float(np.ptp(vertices, axis=0).max())
        self._posed = vertices

    def view(self, index: int) -> View:
        """Frame ``index`` made ready at this fit's size."""
        return make_view(self.clip.frame(index), self.size, self.background)

    @cached_property
    def anchor_view(self) -> View:
        """The anchor frame made ready."""
        return self.view(self.anchor)

    @cached_property
    def anchor_vertices(self) -> Floats:
        """(V,3) the anchor's own pose, drawn to its outline."""
        vertices = self._posed
        for _ in range(self.rounds):
            vertices = self._shifted(vertices, self.anchor_view, None)
        return vertices

    @cached_property
    def anchor_seen(self) -> Visible:
        """What the anchor frame shows of the mesh."""
        return see(self.anchor_vertices, self.faces, self.size)

    def fit(self, vertices: Floats, index: int) -> Floats:
        """(V,3) ``vertices`` shifted to show frame ``index`` as the anchor's pixels would look there."""
        if index == self.anchor:
            return self.anchor_vertices
        view = self.view(index)
        for _ in range(self.rounds):
            seen = see(vertices, self.faces, self.size)
            values, known = look_up(seen, self.anchor_vertices, self.anchor_seen, self.anchor_view)
            rendering = np.full((self.size, self.size), self.background)
            rendering[seen.rows, seen.columns] = values
            shown = np.zeros((self.size, self.size), bool)
            shown[seen.rows, seen.columns] = known
            vertices = self._shifted(vertices, view, (seen, rendering.clip(0, 255).astype(np.uint8), shown))
        return vertices

    def _shifted(
        self,
        vertices: Floats,
        view: View,
        rendered: tuple[Visible, NDArray[np.uint8], NDArray[np.bool_]] | None,
    ) -> Floats:
        """One round. ``rendered``: what is seen, its picture, where that is known; None follows the outline alone."""
        count, focal = len(vertices), Camera.identity().focal
        seen = rendered[0] if rendered else see(vertices, self.faces, self.size)
        matches = [match_outlines(seen, vertices, view)]
        if rendered:
            # Every pixel's flow together counts as one for each vertex, the outline's pixels one each.
            flow = flow_matches(*rendered, view)
            matches.append(flow.scaled(count / max(len(flow.weights), 1)))
        corners = np.concatenate([m.corners for m in matches])
        if not len(corners):
            return vertices
        barycentrics = np.concatenate([m.barycentrics for m in matches])
        targets = np.concatenate([m.targets for m in matches])
        weights = np.concatenate([m.weights for m in matches])
        points = (barycentrics[..., None] * vertices[corners]).sum(1)
        off = (targets - to_pixels(points, self.size)) / self.size / focal * points[:, 2:]
        each = np.arange(len(off)).repeat(3)
        place = coo_matrix((barycentrics.ravel(), (each, corners.ravel())), (len(off), count)).tocsr()
        weighted = place.multiply(weights[:, None]).tocsr()
        system = self.smoothness * self._plate + _HOLD * identity(count) + place.T @ weighted
        factor = splu(
            csc_matrix(system), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
        shift = factor.solve(weighted.T @ off)
        length = np.linalg.norm(shift, axis=1, keepdims=True)
        shift *= np.minimum(1.0, _LONGEST * self.scale / np.maximum(length, 1e-12))
        return vertices + np.concatenate([shift, np.zeros((count, 1))], axis=1)

    @cached_property
    def _plate(self) -> csc_matrix:
        """(V,V) the combinatorial Laplacian squared: the energy of a thin plate."""
        count = len(self._posed)
        edges = np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]])
        pairs = np.unique(np.sort(edges, axis=1), axis=0)
        half = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(count, count)).tocsr()
        adjacency = half + half.T
        degree = np.asarray(adjacency.sum(axis=1)).ravel()
        laplacian = coo_matrix((degree, (np.arange(count), np.arange(count))), shape=(count, count)) - adjacency
        return (laplacian.T @ laplacian).tocsc()
