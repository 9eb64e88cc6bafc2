"""Registration by following the video: the anchor's mesh is carried from frame to frame by what the pictures show.

The paper registers each keyframe's own mesh to the one before (section 4.3), which needs a good mesh for each.
Here one mesh is enough. For every frame, a few rounds of: render the mesh with the video's own pixels, measure the
flow to the frame and the distance between outlines, and move the nodes of an embedded deformation accordingly. Then
the mesh as a body of jointed parts looks for the poses in which it looks like the frames (see `parts`), which tells
turns out of the picture from foreshortening; the first motion stays where that does not look much more like the video.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from v2m4.arrays import Bytes, Float64, Int64, Mask
from v2m4.clip import Clip
from v2m4.events import Progress, ShapeFollowed, StageRun, drain
from v2m4.geometry.camera import Camera
from v2m4.geometry.embedded_deformation import (
    DeformationGraph,
    PointToPlane,
    Pose,
    PositionPrior,
    RestState,
    Stiffness,
    build_graph,
    deform,
    equalised_weights,
    relax_rest_state,
    rest_pose,
    rest_state,
    solve,
)
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.rig import Rig
from v2m4.geometry.rotations import closest_rotation
from v2m4.geometry.sampling import sample_surface
from v2m4.geometry.symmetry import mirror_plane
from v2m4.render.threads import in_order, side_by_side
from v2m4.settings import FollowVideoSettings, RigidMotionSettings
from v2m4.stages.registration.calming import calmed
from v2m4.stages.registration.correspondences import (
    FrameView,
    SurfaceSamples,
    VisibleSurface,
    concatenate,
    contrasting_background,
    flow_matches,
    make_view,
    match_outlines,
    outline_constraints,
    pixel_constraints,
    residual_mask,
    sample_frame_at,
    surface_at,
    unexplained_region_constraints,
    visible_points,
)
from v2m4.stages.registration.sightings import Sightings, box_of
from v2m4.stages.registration.surface_fit import SurfaceFit
from v2m4.stages.registration.video_tracks import VideoTracks

FIRST_SHARE = 0.5  # of the progress: following frame by frame
LEAST_SIDE = 12  # of pictures whose optical flow can be computed (DIS), in pixels
FITS_AT_ONCE = 8  # each holds the pictures of a frame

Found = TypeVar("Found")


@dataclass(frozen=True)
class TrackerState:
    """Where tracking stands after a frame: all it needs to go on to the next, in either direction.

    vertices: (V,3) fitted to the frame. rotations (N,3,3), positions (N,3): the nodes. before_rotations,
    before_positions: the nodes one frame earlier. offsets, relative_rotations: the rest state.
    """

    vertices: Float64
    rotations: Float64
    positions: Float64
    before_rotations: Float64
    before_positions: Float64
    offsets: Float64
    relative_rotations: Float64


class PyramidLevel:
    """The clip and the anchor's mesh at one size of pictures.

    vertices: (V,3) at the anchor frame, in camera space. frame: the clip's (S,S,4) frame of an index. size: side of the
    pictures. background: the grey behind.
    same_surface: relative difference of depth within which a pixel shows the same point.
    """

    def __init__(
        self,
        vertices: Float64,
        faces: Int64,
        frame: Callable[[int], Bytes],
        anchor: int,
        *,
        size: int,
        background: float,
        same_surface: float,
    ) -> None:
        self.vertices, self.faces = vertices, faces
        self.size, self.background, self.same_surface = size, background, same_surface
        # A frame is looked at as the next one, then as the last one, on both ways from the anchor.
        self.view = lru_cache(4)(lambda index: make_view(frame(index), size, background))
        self.anchor_view = self.view(anchor)
        self.anchor_visible = self.visible(vertices)

    def visible(self, vertices: Float64) -> VisibleSurface:
        """What the camera sees of the posed mesh."""
        return visible_points(vertices, self.faces, self.size)

    def render(
        self, seen: VisibleSurface, last_vertices: Float64, last_seen: VisibleSurface, before: FrameView
    ) -> tuple[Bytes, Mask]:
        """The posed mesh in the anchor frame's grey values, or the last frame's, and where either knew them."""

        def grey(vertices: Float64, visible: VisibleSurface, view: FrameView) -> tuple[Float64, Mask]:
            points = surface_at(vertices, seen.corners, seen.barycentrics)
            return sample_frame_at(points, visible, view, self.same_surface)

        first, in_anchor = grey(self.vertices, self.anchor_visible, self.anchor_view)
        second, in_last = grey(last_vertices, last_seen, before)
        picture = np.full((self.size, self.size), self.background)
        picture[seen.rows, seen.columns] = np.where(in_anchor, first, second)
        known = np.zeros((self.size, self.size), bool)
        known[seen.rows, seen.columns] = in_anchor | in_last
        return picture.clip(0, 255).astype(np.uint8), known


class VideoTracker:
    """Tracks one anchor mesh (in camera space) through a clip; ``tracks`` may tell more of the way of its points.

    seed: of the points that are drawn from its surface. rig: the skeleton and skin that it was brought with, if any.
    """

    tracks: VideoTracks | None = None

    def __init__(
        self,
        mesh: Mesh,
        clip: Clip,
        anchor: int,
        settings: FollowVideoSettings,
        *,
        seed: int = 0,
        rig: Rig | None = None,
    ) -> None:
        self.mesh, self.clip, self.rig = mesh, clip, rig
        self.settings, self.seed = settings, seed
        self.faces = mesh.faces.cpu().numpy().astype(np.int64)
        self.start_vertices = mesh.vertices.cpu().numpy().astype(np.float64)
        self.anchor = anchor
        self.size = min(settings.size, clip.side)
        self.scale = float(np.ptp(self.start_vertices, axis=0).max())

    @cached_property
    def graph(self) -> DeformationGraph:
        """The nodes that carry the mesh."""
        return build_graph(self.start_vertices, self.faces, self.settings.nodes, self.settings.graph)

    @cached_property
    def background(self) -> float:
        """The grey behind the object in all views."""
        return contrasting_background(self.clip.frame(self.anchor))

    @cached_property
    def levels(self) -> tuple[PyramidLevel, PyramidLevel]:
        """What pictures say at half the size, where motions are half as long, and at the full one."""
        frame = lru_cache(2)(self.clip.frame)  # both levels look at each in turn
        first, second = (
            PyramidLevel(
                self.start_vertices,
                self.faces,
                frame,
                self.anchor,
                size=size,
                background=self.background,
                same_surface=self.settings.correspondences.same_surface,
            )
            for size in (max(LEAST_SIDE, self.size // 2), max(LEAST_SIDE, self.size))
        )
        return first, second

    def _spread(self, count: int) -> tuple[Int64, Float64]:
        """Corners and barycentrics, (count,3) each, of points spread evenly over the surface."""
        rng = torch.Generator().manual_seed(self.seed)
        vertices, faces = torch.from_numpy(self.start_vertices), torch.from_numpy(self.faces)
        face, barycentrics = sample_surface(vertices, faces, count, rng)
        return self.faces[face.numpy()], barycentrics.numpy()

    @cached_property
    def samples(self) -> SurfaceSamples:
        """Points spread over the surface, their grey values in the anchor frame and the nodes that carry them most."""
        level, count = self.levels[1], self.settings.correspondences.surface_samples
        corners, barycentrics = self._spread(count)
        points = surface_at(self.start_vertices, corners, barycentrics)
        grey, known = sample_frame_at(points, level.anchor_visible, level.anchor_view, level.same_surface)
        if known.any():
            grey = grey[known][cKDTree(points[known]).query(points)[1]]
        nearest = corners[np.arange(count), barycentrics.argmax(axis=1)]
        nodes = self.graph.node_indices[nearest, self.graph.skinning_weights[nearest].argmax(axis=1)]
        return SurfaceSamples(corners, barycentrics, grey, nodes)

    @cached_property
    def surface(self) -> SurfaceFit:
        """What fits the settled surface to the pictures."""
        return SurfaceFit(
            self.start_vertices,
            self.faces,
            self.clip,
            self.anchor,
            self.settings.fit,
            self.settings.correspondences,
            background=self.background,
        )

    def start(self) -> TrackerState:
        """The state at the anchor: the mesh as it is, its outline drawn to the mask's."""
        pose, rest = rest_pose(self.graph), rest_state(self.graph)
        return _state(self.surface.anchor_vertices, pose, pose, rest)

    def follow(self, state: TrackerState, frame: int, target: int) -> StageRun[TrackerState]:
        """Go from ``frame`` to ``target`` (forwards or backwards), frame by frame; there the surface is fitted too."""
        state = yield from self._go(state, frame, target)
        return replace(state, vertices=self.fitted(state.vertices, target))

    def _go(self, state: TrackerState, frame: int, target: int) -> StageRun[TrackerState]:
        """The nodes alone."""
        direction = 1 if target > frame else -1
        if frame == self.anchor:  # what moved on the other side of it does not go on here
            state = replace(state, before_rotations=state.rotations, before_positions=state.positions)
        before, seen = [level.view(frame) for level in self.levels], frame
        count = abs(target - frame)
        for done, index in enumerate(range(frame + direction, target + direction, direction)):
            views = [level.view(index) for level in self.levels]
            if not views[-1].mask.any():  # nothing to follow: stand still until the object is back
                state = replace(state, before_rotations=state.rotations, before_positions=state.positions)
                continue
            if self.sightings.comes_back(index, direction):
                state = self._found_anew(state, index, index - direction == seen)
            else:
                state = yield from self._advance(state, index, before, views, done / count, 1 / count, target)
            before, seen = views, index
        return state

    def fitted(self, vertices: Float64, index: int) -> Float64:
        """(V,3) ``vertices`` with the surface fitted to frame ``index``."""
        direction = 1 if index > self.anchor else -1
        if self.sightings.comes_back(index, direction) and self.sightings.of(index).cut_off:
            return vertices
        return self.surface.fit(vertices, index)

    def settled(self, motion: Float64, frames: Sequence[int]) -> StageRun[Float64]:
        """(K,V,3) poses of ``frames`` in a motion of all frames (T,V,3), with the surface fitted to each and calmed."""
        moved = motion[list(frames)]
        fitted = moved.copy()
        self.surface.make_ready()
        fits = in_order(lambda place: self.fitted(moved[place], frames[place]), len(frames), FITS_AT_ONCE)
        for place, pose in enumerate(fits):
            fitted[place] = pose
            yield Progress("motion", (place + 1) / len(frames))
        joined = np.array(
            [
                place > 0 and all(self._goes_on(index) for index in range(frames[place - 1] + 1, frame + 1))
                for place, frame in enumerate(frames)
            ]
        )
        told = np.stack(side_by_side(lambda place: self.surface.beside_outline(fitted[place]), len(fitted)))
        return calmed(moved, fitted, frames, joined, list(frames).index(self.anchor), self.settings.calming, told)

    def follow_clip(self, shown: Collection[int] = ()) -> StageRun[Float64]:
        """(T,V,3) the mesh in every frame: followed outwards from the anchor, then all frames together.

        shown: frames whose shapes are told as soon as they are found, and again when they change.
        """
        count = len(self.clip)
        start = self.start()
        shapes = np.repeat(start.vertices[None], count, axis=0)
        done, total = 0, max(1, count - 1)
        yield Progress("motion", 0.0)
        share = FIRST_SHARE if self.settings.parts.rounds else 1.0
        if self.anchor in shown:
            yield ShapeFollowed(self.anchor, shapes[self.anchor])
        # Neither way depends on the other; what both need is made before they ask for it at once.
        ways = (range(self.anchor + 1, count), range(self.anchor - 1, -1, -1))
        states, _ = [start, start], (self.levels, self.samples, self.sightings, self._mirror)
        for step in range(max(map(len, ways))):
            going = [side for side, way in enumerate(ways) if step < len(way)]

            def onward(k: int, step: int = step, going: list[int] = going) -> TrackerState:
                way = ways[going[k]]
                return drain(self._go(states[going[k]], way[step] - way.step, way[step]))

            for side, state in zip(going, side_by_side(onward, len(going)), strict=True):
                states[side], index, done = state, ways[side][step], done + 1
                shapes[index] = state.vertices
                yield Progress("motion", done / total * share)
                if index in shown:
                    yield ShapeFollowed(index, state.vertices)
        if self.settings.parts.rounds:
            shapes = yield from self._of_parts(shapes, shown)
        return shapes

    def _of_parts(self, shapes: Float64, shown: Collection[int]) -> StageRun[Float64]:
        """Shapes (T,V,3) as the body's parts find them, if those look much more like the clip: the bones that the mesh
        brings, and where they do not move it as the frames show, parts from its shape."""
        from v2m4.stages.registration.parts.follower import PartsFollower  # its kernels are compiled as they are read

        frames = range(len(shapes))
        joined = np.array([index == 0 or self._goes_on(index) for index in frames])
        seen = np.array([self.sightings.of(index).seen for index in frames])
        start = self.mesh.with_vertices(torch.from_numpy(self.start_vertices).float())
        across = self._mirror[0] * self._mirror[1] * self.plane_stands(shapes)
        parts = self.settings.parts
        rigs = [None] if self.rig is None else [self.rig, None]
        for number, rig in enumerate(rigs):
            follower = PartsFollower(start, self.clip, self.anchor, joined, seen, parts, shapes, across, rig)
            done = FIRST_SHARE + (1 - FIRST_SHARE) * number / len(rigs)
            found = yield from _as_share(follower.follow(shown), done, (1 - FIRST_SHARE) / len(rigs))
            if found is not None and follower.prefers(found, shapes):
                return found
        return shapes

    def _goes_on(self, index: int) -> bool:
        """Whether a frame's motion goes on from the frame before's."""
        nearer, further, direction = (index - 1, index, 1) if index > self.anchor else (index, index - 1, -1)
        seen = self.sightings.of(nearer).seen and self.sightings.of(further).seen
        return seen and not self.sightings.comes_back(further, direction)

    @cached_property
    def sightings(self) -> Sightings:
        """Where the frames show the object."""
        level = self.levels[1]
        return Sightings(self.clip, self.anchor, level.size, lambda index: level.view(index).mask, self.settings.rim_px)

    def _found_anew(self, state: TrackerState, index: int, goes_on: bool) -> TrackerState:
        """The anchor's pose, moved to where the object came back, since nothing tells how it got there.

        goes_on: ``state`` is the frame before's, and the way from there tells the velocity. Of the object's box only
        sides inside the picture are compared: at the others it may go on outside.
        """
        graph, level, found = self.graph, self.levels[1], self.sightings.of(index)
        rest = rest_pose(graph)
        drawn = box_of(np.isfinite(level.anchor_visible.depth))
        wide = float(np.median(graph.nodes[:, 2])) / Camera.identity().focal  # of the picture, at the object's depth
        shift = np.zeros(3)
        for axis in (0, 1):
            sides = [k for k in (axis, axis + 2) if found.inside[k]] or [axis, axis + 2]
            shift[axis] = float(np.mean((found.box - drawn)[sides])) / level.size * wide
        pose = Pose(rest.rotations, rest.positions + shift)
        before = Pose(rest.rotations, state.positions) if goes_on else pose
        return _state(deform(graph, pose), pose, before, rest_state(graph))

    def _advance(
        self,
        state: TrackerState,
        index: int,
        before: list[FrameView],
        views: list[FrameView],
        done: float,
        share: float,
        target: int,
    ) -> StageRun[TrackerState]:
        """One frame on, to ``index``; ``before`` and ``views`` show the last frame and this one at every level."""
        graph, settings = self.graph, self.settings
        last = Pose(state.rotations, state.positions)
        rest = RestState(state.offsets, state.relative_rotations)
        last_vertices = deform(graph, last)
        last_seen = [level.visible(last_vertices) for level in self.levels]
        # 1. Where the nodes are expected.
        pose = constant_velocity(Pose(state.before_rotations, state.before_positions), last, settings.momentum)
        priors = [self._expected_place(pose), self._sideways(pose)]
        for turn in range(settings.rounds):
            # 2. Stiff first, so that a whole limb goes where its clearest parts go; then soft, so that it fits.
            eased = 1 + (settings.first_stiffness - 1) * (1 - turn / max(settings.rounds - 1, 1))
            stiffness = Stiffness(eased * settings.stiffness, eased * settings.bending, settings.damping)
            # 3. What the frame asks of the surface, at half the size first.
            scale = int(turn >= settings.coarse_rounds)
            planes = self._constraints(
                pose, self.levels[scale], views[scale], last_vertices, last_seen[scale], before[scale], turn > 0
            )
            if self.tracks is not None:
                tracked = pixel_constraints(self.tracks.matches(index, views[scale]), self.levels[scale].size)
                planes = concatenate(planes, tracked, relative=settings.tracks.weight)
            # 4. The pose that meets it best.
            for _ in range(settings.solver_steps):
                pose = solve(graph, pose, rest, priors, planes, stiffness, settings.robust * self.scale)
            yield Progress("registration", done + share * (turn + 1) / (settings.rounds + 1), target)
        return _state(deform(graph, pose), pose, last, relax_rest_state(graph, pose, settings.plasticity))

    def _constraints(
        self,
        pose: Pose,
        level: PyramidLevel,
        view: FrameView,
        last_vertices: Float64,
        last_seen: VisibleSurface,
        before: FrameView,
        claiming: bool,
    ) -> PointToPlane:
        """Flow, outlines and, where ``claiming``, unexplained regions, weighed against each other and over nodes."""
        settings, numbers = self.settings, self.settings.correspondences
        vertices = deform(self.graph, pose)
        seen = level.visible(vertices)
        rendering, known = level.render(seen, last_vertices, last_seen, before)
        planes = pixel_constraints(flow_matches(seen, rendering, known, view, numbers), level.size)
        missing = residual_mask(rendering, np.isfinite(seen.depth), view, numbers)
        outline = match_outlines(seen, vertices, view, numbers, rendering, missing)
        planes = concatenate(planes, outline_constraints(outline, view), relative=settings.outline)
        claims = unexplained_region_constraints(seen, vertices, self.samples, missing, view, numbers)
        planes = concatenate(planes, claims, scale=settings.claims if claiming else 0.0)
        weights = equalised_weights(self.graph, planes, settings.equalisation, settings.equalisation_floor)
        return replace(planes, weights=weights)

    def _expected_place(self, pose: Pose) -> PositionPrior:
        """Draws nodes to where ``pose`` expects them.

        Depth is only seen through foreshortening: without a pull towards the anchor's it would wander off.
        """
        start, settings = self.graph.nodes, self.settings
        towards = pose.positions.copy()
        towards[:, 2] = start[:, 2] + (1 - settings.depth_pull) * (towards[:, 2] - start[:, 2])
        return PositionPrior(towards, np.diag([settings.inertia, settings.inertia, settings.depth_inertia]))

    @cached_property
    def _mirror(self) -> tuple[Float64, float]:
        """The normal (3,) of the mesh's plane of symmetry and how far it may be trusted to tell depths, 0..1."""
        numbers = self.settings.symmetry
        plane = mirror_plane(surface_at(self.start_vertices, *self._spread(numbers.samples)), numbers.search)
        # Seen from the side, the picture and the plane fix a point; seen from the front they do not.
        side_on = (abs(plane.normal[2]) - numbers.side_on_from) / (numbers.side_on_full - numbers.side_on_from)
        symmetric = (numbers.error_most - plane.error) / (numbers.error_most - numbers.error_full)
        # A round rod has any plane through its axis: which one was found says nothing.
        clear = (plane.rivalry - numbers.rivalry_from) / (numbers.rivalry_full - numbers.rivalry_from)
        return plane.normal, float(np.prod(np.clip([side_on, symmetric, clear], 0.0, 1.0)))

    def plane_stands(self, shapes: Float64) -> float:
        """How far the plane of symmetry may be taken to stay where it is, 0..1: less if the body as a whole turns it
        somewhere in shapes (T,V,3)."""
        settings, (normal, trust) = self.settings, self._mirror
        if not trust:
            return 0.0
        corners, barycentrics = self._spread(settings.nodes)
        start = surface_at(self.start_vertices, corners, barycentrics)
        most = 0.0
        for shape in shapes:
            now = surface_at(shape, corners, barycentrics)
            rotation = robust_rigid_motion(start, now, self.scale, settings.rigid_motion, settings.depth_pull)[0]
            most = max(most, float(np.arccos(np.clip(normal @ rotation @ normal, -1.0, 1.0))))
        return float(np.clip(1 - most / settings.symmetry.turned_most, 0.0, 1.0))

    def _sideways(self, pose: Pose) -> PositionPrior:
        """Draws nodes back across the plane of symmetry: legs swing along it, which tells their depths."""
        normal, trust = self._mirror
        settings = self.settings
        rotation, shift = robust_rigid_motion(
            self.graph.nodes, pose.positions, self.scale, settings.rigid_motion, settings.depth_pull
        )
        normal = rotation @ normal
        strength = trust * settings.sideways * np.outer(normal, normal)
        return PositionPrior(self.graph.nodes @ rotation.T + shift, strength)


def robust_rigid_motion(
    before: Float64, now: Float64, scale: float, settings: RigidMotionSettings, depth_pull: float
) -> tuple[Float64, Float64]:
    """The rotation (3,3) and translation (3,) of most of the points (N,3): Kabsch's, reweighted by Geman-McClure.

    Small turns are not believed, and ``depth_pull`` (a share) of shifts in depth is not. scale: the object's size.
    """
    weights = np.ones(len(before))
    for _ in range(settings.rounds):
        first, second = weights @ before / weights.sum(), weights @ now / weights.sum()
        covariance = ((now - second) * weights[:, None]).T @ (before - first)
        rotation = closest_rotation(torch.from_numpy(covariance)).numpy()
        off = np.linalg.norm((now - second) - (before - first) @ rotation.T, axis=1)
        weights = 1 / (1 + (off / (settings.reach * scale)) ** 2) ** 2
    turn = Rotation.from_matrix(rotation).as_rotvec()
    angle = float(np.linalg.norm(turn))
    turn *= max(0.0, angle - settings.small_turn) / max(angle, 1e-9)
    rotation = Rotation.from_rotvec(turn).as_matrix()
    shift = second - rotation @ first
    shift[2] = (1 - depth_pull) * shift[2]
    return rotation, shift


def _as_share(events: StageRun[Found], before: float, share: float) -> StageRun[Found]:
    """The same as ``share`` of the whole, of which ``before`` is done."""
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value
        if isinstance(event, Progress):
            event = replace(event, fraction=before + share * event.fraction)
        yield event


def constant_velocity(before: Pose, last: Pose, momentum: float) -> Pose:
    """The next pose if ``momentum`` (a share) of the motion from ``before`` to ``last`` goes on."""
    turns = Rotation.from_matrix(last.rotations @ before.rotations.transpose(0, 2, 1))
    onward = Rotation.from_rotvec(momentum * turns.as_rotvec()).as_matrix()
    return Pose(onward @ last.rotations, last.positions + momentum * (last.positions - before.positions))


def _state(vertices: Float64, pose: Pose, before: Pose, rest: RestState) -> TrackerState:
    return TrackerState(
        vertices,
        pose.rotations,
        pose.positions,
        before.rotations,
        before.positions,
        rest.offsets,
        rest.relative_rotations,
    )
