"""The last touch of registration by video: every vertex is shifted across the view until pictures and outlines agree.

The nodes of an embedded deformation bring the surface to within a pixel or two; a texture shared by all frames shows
even that as blur. So once they have settled, flow and outline are measured again at full size, and a smooth shift
of all vertices (a thin plate, solved directly) follows them. Depths stay as they are.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_matrix, csc_matrix, identity
from scipy.sparse.linalg import splu

from v2m4.arrays import Bytes, Float64, Int64, Mask, norm_last
from v2m4.clip import Clip
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import unique_edges
from v2m4.masks import mask_iou
from v2m4.settings import CorrespondenceSettings, SurfaceFitSettings
from v2m4.stages.registration.correspondences import (
    FrameView,
    VisibleSurface,
    covered,
    flow_matches,
    make_view,
    match_outlines,
    sample_frame_at,
    surface_at,
    to_pixels,
    visible_points,
)


class SurfaceFit:
    """Fits poses of one mesh to frames of its clip.

    vertices: (V,3) at the anchor frame, in camera space. background: the grey behind the object.
    """

    def __init__(
        self,
        vertices: Float64,
        faces: Int64,
        clip: Clip,
        anchor: int,
        settings: SurfaceFitSettings,
        correspondences: CorrespondenceSettings,
        *,
        background: float,
    ) -> None:
        self.faces = faces
        self.clip = clip
        self.anchor = anchor
        self.settings = settings
        self.correspondences = correspondences
        self.size = min(settings.size, clip.side)
        self.background = background
        self.scale = float(np.ptp(vertices, axis=0).max())
        self._posed = vertices

    def view(self, index: int) -> FrameView:
        """Frame ``index`` made ready at this fit's size."""
        return make_view(self.clip.frame(index), self.size, self.background)

    @cached_property
    def anchor_view(self) -> FrameView:
        """The anchor frame made ready."""
        return self.view(self.anchor)

    @cached_property
    def anchor_vertices(self) -> Float64:
        """(V,3) the anchor's own pose, drawn to its outline."""
        vertices = self._posed
        for _ in range(self.settings.rounds):
            vertices = self.shifted(vertices, self.anchor_view, None)
        return vertices

    @cached_property
    def anchor_seen(self) -> VisibleSurface:
        """What the anchor frame shows of the mesh."""
        return visible_points(self.anchor_vertices, self.faces, self.size)

    def make_ready(self) -> None:
        """Make what all fits share, before several threads ask for it."""
        _ = self.anchor_seen, self.anchor_view, self._plate

    def fit(self, vertices: Float64, index: int) -> Float64:
        """(V,3) ``vertices`` shifted to show frame ``index`` as the anchor's pixels would look there."""
        if index == self.anchor:
            return self.anchor_vertices
        view = self.view(index)
        for _ in range(self.settings.rounds):
            seen = visible_points(vertices, self.faces, self.size)
            at_anchor = surface_at(self.anchor_vertices, seen.corners, seen.barycentrics)
            values, known = sample_frame_at(
                at_anchor, self.anchor_seen, self.anchor_view, self.correspondences.same_surface
            )
            rendering = np.full((self.size, self.size), self.background)
            rendering[seen.rows, seen.columns] = values
            shown = np.zeros((self.size, self.size), bool)
            shown[seen.rows, seen.columns] = known
            vertices = self.shifted(vertices, view, (seen, rendering.clip(0, 255).astype(np.uint8), shown))
        return vertices

    def outline(self, index: int) -> FrameOutline:
        """The outline of frame ``index``, made ready."""
        return FrameOutline(self, self.view(index))

    def beside_outline(self, vertices: Float64) -> Mask:
        """(V,) which vertices of a pose show near its outline, or would if nothing hid them."""
        inside = covered(vertices, self.faces, self.size)
        rim = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] <= self.settings.beside * self.size
        pixels = np.clip(to_pixels(vertices, self.size).astype(np.int64), 0, self.size - 1)
        near: Mask = rim[pixels[:, 1], pixels[:, 0]]
        return near

    def shifted(
        self,
        vertices: Float64,
        view: FrameView,
        rendered: tuple[VisibleSurface, Bytes, Mask] | None,
        free: Mask | None = None,
    ) -> Float64:
        """One round. ``rendered``: what is seen, its picture, where that is known; None follows the outline alone.
        free: (V,) the vertices that may move, if not all."""
        count, focal = len(vertices), Camera.identity().focal
        seen = rendered[0] if rendered else visible_points(vertices, self.faces, self.size)
        # 1. What outline and flow ask for.
        matches = [match_outlines(seen, vertices, view, self.correspondences)]
        if rendered:
            # Every pixel's flow together counts as one for each vertex, the outline's pixels one each.
            flow = flow_matches(*rendered, view, self.correspondences)
            matches.append(flow.scaled(count / max(len(flow.weights), 1)))
        corners = np.concatenate([m.corners for m in matches])  # (M,3)
        if not len(corners):
            return vertices
        barycentrics = np.concatenate([m.barycentrics for m in matches])
        targets = np.concatenate([m.targets for m in matches])
        weights = np.concatenate([m.weights for m in matches])
        # 2. How far each surface point has to go across the view, at its depth.
        points = surface_at(vertices, corners, barycentrics)
        off = (targets - to_pixels(points, self.size)) / self.size / focal * points[:, 2:]  # (M,2)
        # 3. The smooth shift of all vertices that does so best.
        each = np.arange(len(off)).repeat(3)
        place = coo_matrix((barycentrics.ravel(), (each, corners.ravel())), (len(off), count)).tocsr()  # (M,V)
        weighted = place.multiply(weights[:, None]).tocsr()
        settings = self.settings
        system = settings.smoothness * self._plate + settings.hold * identity(count) + place.T @ weighted
        inner = np.arange(count) if free is None else np.flatnonzero(free)
        factor = splu(
            csc_matrix(system if free is None else system[inner][:, inner]),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        shift: Float64 = np.zeros((count, 2))
        shift[inner] = factor.solve((weighted.T @ off)[inner])
        length = norm_last(shift)[:, None]
        shift *= np.minimum(1.0, settings.longest_shift * self.scale / np.maximum(length, 1e-12))
        return vertices + np.concatenate([shift, np.zeros((count, 1))], axis=1)

    @cached_property
    def _plate(self) -> csc_matrix:
        """(V,V) the combinatorial Laplacian squared: the energy of a thin plate."""
        count = len(self._posed)
        pairs = unique_edges(torch.from_numpy(self.faces)).numpy()
        half = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(count, count)).tocsr()
        adjacency = half + half.T
        degree = np.asarray(adjacency.sum(axis=1)).ravel()
        laplacian = coo_matrix((degree, (np.arange(count), np.arange(count))), shape=(count, count)) - adjacency
        return (laplacian.T @ laplacian).tocsc()


class FrameOutline:
    """The outline of one frame, which poses of the fit's mesh are drawn to or compared with."""

    def __init__(self, surface: SurfaceFit, view: FrameView) -> None:
        self._surface, self._view = surface, view

    def drawn(self, vertices: Float64, free: Mask) -> Float64:
        """(V,3) ``vertices`` after one round that heeds the outline alone and moves the ``free`` ones (V,) only."""
        return self._surface.shifted(vertices, self._view, None, free)

    def overlap(self, vertices: Float64) -> float:
        """Intersection over union of the object's mask and what is seen of the mesh posed as ``vertices`` (V,3)."""
        return mask_iou(covered(vertices, self._surface.faces, self._surface.size), self._view.mask)
