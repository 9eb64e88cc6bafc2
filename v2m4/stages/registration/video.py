"""Registration by following the video: the anchor's mesh is carried from frame to frame by what the pictures show.

The paper registers each keyframe's own mesh to the one before (section 4.3), which needs a good mesh for each.
Here one mesh is enough. For every frame, a few rounds of: render the mesh with the video's own pixels, measure the
flow to the frame and the distance between outlines, and move the nodes of an embedded deformation accordingly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from v2m4.clip import Clip
from v2m4.events import Progress, Steps
from v2m4.geometry.deformation import (
    Graph,
    Pose,
    Pull,
    Rest,
    Stiffness,
    build_graph,
    deform,
    rest_pose,
    rest_state,
    solve,
    yield_to,
)
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.symmetry import mirror_plane
from v2m4.settings import FollowVideoSettings
from v2m4.stages.registration.correspondences import (
    Skin,
    View,
    Visible,
    claim_planes,
    contrasting_background,
    flow_planes,
    join,
    look_up,
    make_view,
    match_outlines,
    outline_planes,
    see,
    unexplained,
    weigh,
)
from v2m4.stages.registration.surface_fit import SurfaceFit

Floats = NDArray[np.float64]
_STEPS = 3  # Gauss-Newton steps per round
_ROBUST = 0.3  # of the object's size: planes further off are distrusted
_YIELD = 0.1  # change of an edge's length beyond which the rest state follows
_STIFF = 10.0  # times stiffer in the first round than in the last
_SMALL_TURN = 0.2  # radians
_MIRROR_POINTS = 800
_SKIN_POINTS = 3000
_COARSE_TURNS = 2  # rounds at half the size, before those at the full one
_MOMENTUM = 1.0  # share of the last frame's motion that is expected to go on


@dataclass(frozen=True)
class FollowState:
    """Where following stands after a frame: all it needs to go on to the next, in either direction.

    vertices: (V,3) fitted to the frame. rotations (N,3,3), positions (N,3): the nodes. before_rotations,
    before_positions: the nodes one frame earlier. offsets, bends: the rest state.
    """

    vertices: Floats
    rotations: Floats
    positions: Floats
    before_rotations: Floats
    before_positions: Floats
    offsets: Floats
    bends: Floats


class Level:
    """The clip and the anchor's mesh at one size of pictures.

    vertices: (V,3) at the anchor frame, in camera space. size: side of the pictures. background: the grey behind.
    """

    def __init__(
        self, vertices: Floats, faces: NDArray[np.int64], clip: Clip, anchor: int, size: int, background: float
    ) -> None:
        self.vertices, self.faces, self.clip = vertices, faces, clip
        self.size, self.background = size, background
        self.anchor_view = self.view(anchor)
        self.anchor_seen = self.see(vertices)

    def view(self, index: int) -> View:
        """Frame ``index`` made ready."""
        return make_view(self.clip.frame(index), self.size, self.background)

    def see(self, vertices: Floats) -> Visible:
        """What the camera sees of the posed mesh."""
        return see(vertices, self.faces, self.size)

    def render(
        self, seen: Visible, last_vertices: Floats, last_seen: Visible, before: View
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The posed mesh in the anchor frame's grey values, or the last frame's, and where either knew them."""
        first, in_anchor = look_up(seen, self.vertices, self.anchor_seen, self.anchor_view)
        second, in_last = look_up(seen, last_vertices, last_seen, before)
        picture = np.full((self.size, self.size), self.background)
        picture[seen.rows, seen.columns] = np.where(in_anchor, first, second)
        known = np.zeros((self.size, self.size), bool)
        known[seen.rows, seen.columns] = in_anchor | in_last
        return picture.clip(0, 255).astype(np.uint8), known


class Follower:
    """Follows one anchor mesh (in camera space) through a clip."""

    def __init__(self, mesh: Mesh, clip: Clip, anchor: int, settings: FollowVideoSettings) -> None:
        self.clip = clip
        self.settings = settings
        self.faces = mesh.faces.cpu().numpy().astype(np.int64)
        self.start_vertices = mesh.vertices.cpu().numpy().astype(np.float64)
        self.anchor = anchor
        self.size = min(settings.size, clip.side)
        self.scale = float(np.ptp(self.start_vertices, axis=0).max())

    @cached_property
    def graph(self) -> Graph:
        """The nodes that carry the mesh."""
        return build_graph(self.start_vertices, self.faces, self.settings.nodes)

    @cached_property
    def background(self) -> float:
        """The grey behind the object in all views."""
        return contrasting_background(self.clip.frame(self.anchor))

    @cached_property
    def levels(self) -> tuple[Level, Level]:
        """What pictures say at half the size, where motions are half as long, and at the full one."""
        sizes = (self.size // 2, self.size)
        first, second = (
            Level(self.start_vertices, self.faces, self.clip, self.anchor, size, self.background) for size in sizes
        )
        return first, second

    @cached_property
    def skin(self) -> Skin:
        """Points spread over the surface and their grey values in the anchor frame."""
        level = self.levels[1]
        corners, barycentrics = _spread(self.start_vertices, self.faces, _SKIN_POINTS)
        points = (barycentrics[..., None] * self.start_vertices[corners]).sum(axis=1)
        spread = Visible(np.zeros(0, np.int64), np.zeros(0, np.int64), corners, barycentrics, level.anchor_seen.depth)
        grey, known = look_up(spread, self.start_vertices, level.anchor_seen, level.anchor_view)
        if known.any():
            grey = grey[known][cKDTree(points[known]).query(points)[1]]
        return Skin(corners, barycentrics, grey)

    @cached_property
    def _skin_carriers(self) -> NDArray[np.int64]:
        """(K,) the node that carries each point of the skin most."""
        first = self.skin.corners[np.arange(_SKIN_POINTS), self.skin.barycentrics.argmax(axis=1)]
        most: NDArray[np.int64] = self.graph.carriers[first, self.graph.weights[first].argmax(axis=1)]
        return most

    @cached_property
    def surface(self) -> SurfaceFit:
        """What fits the settled surface to the pictures."""
        return SurfaceFit(
            self.start_vertices,
            self.faces,
            self.clip,
            self.anchor,
            size=self.settings.fit.size,
            background=self.background,
            smoothness=self.settings.fit.smoothness,
            rounds=self.settings.fit.rounds,
        )

    def start(self) -> FollowState:
        """The state at the anchor: the mesh as it is, its outline drawn to the mask's."""
        pose, rest = rest_pose(self.graph), rest_state(self.graph)
        return FollowState(
            self.surface.anchor_vertices,
            pose.rotations,
            pose.positions,
            pose.rotations,
            pose.positions,
            rest.offsets,
            rest.bends,
        )

    def follow(self, state: FollowState, frame: int, target: int) -> Steps[FollowState]:
        """Go from ``frame`` to ``target`` (forwards or backwards), frame by frame."""
        direction = 1 if target > frame else -1
        if (frame - self.anchor) * direction == 0 or frame == self.anchor:
            state = FollowState(
                **{**vars(state), "before_rotations": state.rotations, "before_positions": state.positions}
            )
        before = [level.view(frame) for level in self.levels]
        count = abs(target - frame)
        for done, index in enumerate(range(frame + direction, target + direction, direction)):
            views = [level.view(index) for level in self.levels]
            state = yield from self._advance(state, before, views, done / count, 1 / count, target)
            before = views
        return replace(state, vertices=self.surface.fit(state.vertices, target))

    def _advance(
        self, state: FollowState, before: list[View], views: list[View], done: float, share: float, target: int
    ) -> Steps[FollowState]:
        """One frame on; ``before`` and ``views`` show the last frame and this one at every level."""
        graph, settings = self.graph, self.settings
        if not views[-1].mask.any():  # nothing to follow: stand still until the object is back
            return replace(state, before_rotations=state.rotations, before_positions=state.positions)
        last = Pose(state.rotations, state.positions)
        rest = Rest(state.offsets, state.bends)
        last_vertices = deform(graph, last)
        last_seen = [level.see(last_vertices) for level in self.levels]
        pose = _expected(Pose(state.before_rotations, state.before_positions), last)
        towards = pose.positions.copy()
        # Depth is only seen through foreshortening: without a pull towards the anchor's it would wander off.
        towards[:, 2] = graph.nodes[:, 2] + (1 - settings.depth_pull) * (towards[:, 2] - graph.nodes[:, 2])
        inertia = np.diag([settings.inertia, settings.inertia, settings.depth_inertia])
        pulls = [Pull(towards, inertia), self._sideways(pose)]
        for turn in range(settings.rounds):
            # Stiff first, so that a whole limb goes where its clearest parts go; then soft, so that it fits.
            eased = 1 + (_STIFF - 1) * (1 - turn / max(settings.rounds - 1, 1))
            stiffness = Stiffness(eased * settings.stiffness, eased * settings.bending)
            scale = int(turn >= _COARSE_TURNS)
            level, view = self.levels[scale], views[scale]
            vertices = deform(graph, pose)
            seen = level.see(vertices)
            rendering, known = level.render(seen, last_vertices, last_seen[scale], before[scale])
            planes = flow_planes(seen, rendering, known, view)
            missing = unexplained(rendering, np.isfinite(seen.depth), view)
            outline = outline_planes(match_outlines(seen, vertices, view, rendering, missing), view)
            planes = join(planes, outline, settings.outline)
            claims = claim_planes(seen, vertices, self.skin, self._skin_carriers, missing, view)
            planes = weigh(planes, claims, settings.claims if turn else 0.0)
            for _ in range(_STEPS):
                pose = solve(graph, pose, rest, pulls, planes, stiffness, _ROBUST * self.scale)
            yield Progress("registration", done + share * (turn + 1) / (settings.rounds + 1), target)
        rest = yield_to(graph, pose, _YIELD)
        return FollowState(
            deform(graph, pose),
            pose.rotations,
            pose.positions,
            last.rotations,
            last.positions,
            rest.offsets,
            rest.bends,
        )

    @cached_property
    def _mirror(self) -> tuple[Floats, float]:
        """The normal (3,) of the mesh's plane of symmetry and how far it may be trusted to tell depths, 0..1."""
        corners, barycentrics = _spread(self.start_vertices, self.faces, _MIRROR_POINTS)
        normal, error = mirror_plane((barycentrics[..., None] * self.start_vertices[corners]).sum(axis=1))
        # Seen from the side, the picture and the plane fix a point; seen from the front they do not.
        side_on = np.clip((abs(normal[2]) - 0.5) / 0.25, 0.0, 1.0)
        return normal, float(side_on * np.clip((0.12 - error) / 0.06, 0.0, 1.0))

    def _sideways(self, pose: Pose) -> Pull:
        """Draws nodes back across the plane of symmetry: legs swing along it, which tells their depths."""
        normal, trust = self._mirror
        rotation, shift = _body(self.graph.nodes, pose.positions, self.scale)
        normal = rotation @ normal
        strength = trust * self.settings.sideways * np.outer(normal, normal)
        return Pull(self.graph.nodes @ rotation.T + shift, strength)


def _body(before: Floats, now: Floats, scale: float) -> tuple[Floats, Floats]:
    """The turn (3,3) and shift (3,) of most of the nodes (N,3). Small turns, and shifts in depth, are not believed."""
    weights = np.ones(len(before))
    for _ in range(8):
        first, second = weights @ before / weights.sum(), weights @ now / weights.sum()
        left, _, right = np.linalg.svd(((now - second) * weights[:, None]).T @ (before - first))
        rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
        off = np.linalg.norm((now - second) - (before - first) @ rotation.T, axis=1)
        weights = 1 / (1 + (off / (0.05 * scale)) ** 2) ** 2
    turn = Rotation.from_matrix(rotation).as_rotvec()
    angle = float(np.linalg.norm(turn))
    turn *= max(0.0, angle - _SMALL_TURN) / max(angle, 1e-9)
    rotation = Rotation.from_rotvec(turn).as_matrix()
    shift = second - rotation @ first
    shift[2] = (1 - 0.1) * shift[2]
    return rotation, shift


def _spread(vertices: Floats, faces: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], Floats]:
    """Corners and barycentrics, (count,3) each, of points spread evenly over a surface by area."""
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(faces), count, p=area / area.sum())
    return faces[chosen], rng.dirichlet([1.0, 1.0, 1.0], count)


def _expected(before: Pose, last: Pose) -> Pose:
    """The next pose if most of the motion from ``before`` to ``last`` goes on."""
    turns = Rotation.from_matrix(last.rotations @ before.rotations.transpose(0, 2, 1))
    onward = Rotation.from_rotvec(_MOMENTUM * turns.as_rotvec()).as_matrix()
    return Pose(onward @ last.rotations, last.positions + _MOMENTUM * (last.positions - before.positions))
