"""The anchor's mesh as a body of jointed parts, posed in every frame of a clip."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from v2m4.arrays import Float32, Float64, Int64, Mask
from v2m4.clip import Clip
from v2m4.events import Event, Progress, ShapeFollowed, StageRun, mapped
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.rig import Rig
from v2m4.settings import PartsSettings, changed
from v2m4.stages.registration.parts.clip_fit import ClipFit
from v2m4.stages.registration.parts.limbs import limbs_and_trunk
from v2m4.stages.registration.parts.looks import light_mesh, seen_colours, shows_fronts
from v2m4.stages.registration.parts.pose_fit import Body, PoseFit
from v2m4.stages.registration.parts.rig import brought, rigged
from v2m4.stages.registration.parts.search import FramePosed, MotionSearch
from v2m4.stages.registration.parts.skeleton import Poses, following, skin, with_steady_joints
from v2m4.stages.registration.parts.synthesis import Synthesis, Windows, fitted_light, frame_picture

_LEAST_SIDE = 8  # of the small pictures, in pixels
_CARRIERS = 4  # vertices of the light mesh whose weights each vertex of the whole mesh takes


class PartsFollower:
    """mesh: in camera space, posed as in the ``anchor`` frame. joined: (T,) frames that go on from the one before.
    seen: (T,) frames that show the object. before: (T,V,3) a first motion, which tells where joints are and where
    searches start. across: (3,) the normal of the mesh's plane of symmetry, as long as that is trusted, 0..1. rig: the
    mesh's own skeleton and skin, if it was brought with them: they are taken as they are."""

    def __init__(
        self,
        mesh: Mesh,
        clip: Clip,
        anchor: int,
        joined: Mask,
        seen: Mask,
        settings: PartsSettings,
        before: Float64 | None = None,
        across: Float64 | None = None,
        rig: Rig | None = None,
    ) -> None:
        self.clip, self.anchor, self.joined, self.seen, self.across = clip, anchor, joined, seen, across
        rig = None if rig is None else rig.carrying(settings.chunks.chunks)
        self.rig = None if rig is None or len(rig.joints) < 2 else rig  # one bone tells no more than none
        self.settings = settings if self.rig is None else changed(settings, {"rig.rounds": 0})
        self.vertices = mesh.vertices.cpu().numpy().astype(np.float64)
        self.looks, self._closed = light_mesh(mesh, settings.looks), shows_fronts(mesh, settings.border)
        self._first = before
        self._before = None if before is None else before[:, self._nearest_whole]  # (T,L,3)

    def follow(self, shown: Collection[int] = ()) -> StageRun[Float64 | None]:
        """(T,V,3) the mesh in every frame; none if the search ended early. shown: frames whose shapes are told as soon
        as they are found."""
        body, before = self.body, self._before
        guide = None if before is None else following(body.skeleton, body.vertices, body.weights, before)
        across, held = self._plane
        flat = across is None and self.settings.across_view > 0
        if flat:
            across = np.array([0.0, 0.0, self.settings.across_view])
        fits = [ClipFit(fit, self.anchor, self.joined, across, held, whole=not flat) for fit in self._fits]
        search = MotionSearch(fits, shown, guide, self._wanted)

        def told(event: Event) -> Event:
            if not isinstance(event, FramePosed):
                return event
            pose = search.poses[[event.frame]]
            return ShapeFollowed(event.frame, self._whole(search.body, pose)[0])

        yield Progress("motion", 0.0)
        poses = yield from mapped(search.run(), told)
        if search.hopeless:
            return None
        shapes = self._whole(search.body, poses)
        return self._between_depths(shapes) if flat else shapes

    def _between_depths(self, shapes: Float64) -> Float64:
        """Shapes (T,V,3) drawn along the rays to the first motion's depths: with no plane to tell depths both motions
        err in them, and not alike."""
        if self._first is None:
            return shapes
        found, first = (np.maximum(each[..., 2:], 1e-9) for each in (shapes, self._first))
        return shapes * (first / found) ** self.settings.first_depth

    @property
    def _wanted(self) -> Float64 | None:
        """(T,) how unlike each frame the found motion may look to be preferred to the first one."""
        if self._before is None or self.settings.ends_after >= 1:
            return None
        first = self._fits[-1].vertex_energies(self._before, np.arange(len(self._before)))
        return self._preferred(first, self._excused)

    def score(self, shapes: Float64) -> float:
        """How unlike the clip the mesh looks in shapes (T,V,3): mean squared difference per pixel of the object."""
        fit, frames = self._fits[-1], np.flatnonzero(self.seen)
        if not len(frames):
            return 0.0
        return float(fit.vertex_energies(shapes[frames][:, self._nearest_whole], frames).mean())

    def prefers(self, found: Float64, first: Float64) -> bool:
        """Whether shapes (T,V,3) look so much more like the clip than the first ones that they are taken. What the mesh
        differs by in the anchor, where it is as it should be, no motion makes good: it is not the first ones' fault."""
        now = self.score(found)
        return now <= float(self._preferred(np.array(self.score(first)), min(self._excused, now)))

    def _preferred(self, first: Float64, excused: float) -> Float64:
        """How unlike the clip what is taken may look at most, where the first motion looks so unlike it (any shape) and
        ``excused`` of both is no motion's fault: as far as that makes it more."""
        return self.settings.preferred * first + max(0.0, 1 - self.settings.preferred) * excused

    @cached_property
    def _excused(self) -> float:
        """What counts for neither motion: a share of how unlike the anchor's frame the mesh looks in its known pose."""
        if not self.settings.excused:
            return 0.0
        known = self._fits[-1].vertex_energies(self.looks.vertices[None], np.array([self.anchor]))[0]
        return self.settings.excused * float(known)

    @cached_property
    def body(self) -> Body:
        """The light mesh with its skeleton."""
        chunks, looks = self.settings.chunks, self.looks
        if self.rig is not None:
            return brought(self.rig, looks.vertices)
        body = rigged(looks.vertices, looks.faces, chunks)
        if self._before is None or not self.seen.any():
            return body
        shown = self._before[self.seen]
        steady = with_steady_joints(body.skeleton, body.vertices, body.weights, shown, chunks.joint_hold)
        return replace(body, skeleton=steady)

    @cached_property
    def _plane(self) -> tuple[Float64 | None, Mask | None]:
        """`ClipFit`'s ``across`` and ``held``, without a plane for a body that has no limbs on both sides of it."""
        trust = 0.0 if self.across is None else float(np.linalg.norm(self.across))
        if self.across is None or not trust:
            return None, None
        body, limbs = self.body, self.settings.limbs
        held = limbs_and_trunk(body.skeleton, body.vertices, body.weights, self.across / trust, limbs)
        return (self.across, held) if held.any() else (None, None)

    def _whole(self, body: Body, poses: Poses) -> Float64:
        """(T,V,3) the whole mesh in poses (T) of the light one's body."""
        near, shares = self._carriers
        return skin(body.skeleton, poses, self.vertices, np.einsum("vk,vkn->vn", shares, body.weights[near]))

    @cached_property
    def _carriers(self) -> tuple[Int64, Float64]:
        """(V,K) the light mesh's vertices whose weights each of the whole mesh takes, and the shares of them."""
        count = min(_CARRIERS, len(self.looks.vertices))
        gaps, near = cKDTree(self.looks.vertices).query(self.vertices, k=[*range(1, count + 1)])
        closeness = 1 / (gaps + 1e-3 * self.body.size) ** 2
        return near, closeness / closeness.sum(axis=1, keepdims=True)

    @cached_property
    def _nearest_whole(self) -> Int64:
        """(L,) the whole mesh's vertex nearest to each of the light one."""
        return cKDTree(self.vertices).query(self.looks.vertices)[1]

    @cached_property
    def _windows(self) -> Windows:
        boxes = np.zeros((len(self.clip), 4))
        for index in np.flatnonzero(self.seen).tolist():
            alpha = self.clip.frame(index)[..., 3] > 127
            rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
            if len(rows):
                boxes[index] = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / self.clip.side
        return Windows.around(boxes, self.settings.margin)

    @cached_property
    def _fits(self) -> list[PoseFit]:
        """The clip at every level, small pictures first."""
        windows, frame = self._windows, self.clip.frame(self.anchor)
        corner, looks = windows.corners[self.anchor], self.looks
        # 1. Light and colours from the frame whose pose is known.
        largest = self.settings.side
        sides = (max(_LEAST_SIDE, largest // 2), largest)
        target = frame_picture(frame, corner, windows.side, largest)
        light = np.eye(4)[[0, 0, 0]]  # without colours of its own, what is light and what is paint cannot be told
        if looks.known.any():
            hold = self.settings.looks.light_hold
            light = fitted_light(looks.faces, looks.colours, looks.vertices, target, corner, windows.side, hold)
        colours = seen_colours(looks, frame, light, self.settings.looks)
        # 2. All frames, at every size.
        targets = [np.zeros((len(self.clip), side, side, 4), np.float32) for side in sides]
        for index in np.flatnonzero(self.seen).tolist():
            picture = self.clip.frame(index)
            for level, side in zip(targets, sides, strict=True):
                level[index] = frame_picture(picture, windows.corners[index], windows.side, side)
        return [
            PoseFit(
                self.body,
                Synthesis(looks.faces, colours, light, windows.side, side),
                level,
                windows.corners,
                self._inside(side),
                self.seen,
                self.settings,
                self._closed,
            )
            for level, side in zip(targets, sides, strict=True)
        ]

    def _inside(self, side: int) -> Float32:
        """(T,side,side) 1 where a frame's square lies inside the picture: beyond it nothing is known."""
        left, top, right, bottom = np.array(self.clip.content_box()) / self.clip.side
        steps = (np.arange(side) + 0.5) / side * self._windows.side
        half = 0.5 * self._windows.side / side
        x, y = (self._windows.corners[:, axis, None] + steps for axis in range(2))  # (T,side)
        across, down = (x - half >= left) & (x + half <= right), (y - half >= top) & (y + half <= bottom)
        return (across[:, None, :] & down[:, :, None]).astype(np.float32)
