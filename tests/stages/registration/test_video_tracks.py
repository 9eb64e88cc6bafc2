"""Points that a tracker follows through the video, from the anchor frame both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.geometry.test_embedded_deformation import bent, tube
from tests.stages.registration.test_video import SIDE, error, film, tracker
from v2m4.events import drain
from v2m4.geometry.mesh import Mesh
from v2m4.settings import VideoTrackSettings
from v2m4.stages.registration.correspondences import surface_at, to_pixels, visible_points
from v2m4.stages.registration.video_tracks import track_video
from v2m4.tracks import Tracks

SETTINGS = VideoTrackSettings(enabled=True, size=SIDE, points=300, window=3)


class TrueTracker:
    """Knows the true shapes: every point is where its surface point is, in whichever window it is asked for."""

    def __init__(self, shapes: np.ndarray, faces: np.ndarray, ways: Sequence[Sequence[int]]) -> None:
        self.shapes, self.faces, self.windows = shapes, faces, list(ways)
        self.lengths: list[int] = []

    def __call__(self, frames: Tensor, queries: Tensor) -> Tracks:
        window = self.windows.pop(0)
        assert len(frames) == len(window) and frames.shape[1:] == (SIDE, SIDE, 3)
        assert float(frames.min()) >= 0 and float(frames.max()) <= 1
        self.lengths.append(len(frames))
        seen = visible_points(self.shapes[window[0]], self.faces, SIDE)
        centres = np.stack([seen.columns, seen.rows], axis=1)
        at = np.linalg.norm(queries[:, None, 1:].numpy() - centres[None], axis=2).argmin(axis=1)
        corners, barycentrics = seen.corners[at], seen.barycentrics[at]
        found = [to_pixels(surface_at(self.shapes[t], corners, barycentrics), SIDE) - 0.5 for t in window]
        return Tracks(
            torch.from_numpy(np.stack(found)).float(), torch.ones(len(window), len(queries), dtype=torch.bool)
        )


def swings(angles: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(T,V,3) a tube of two bones, bent by so much in each frame."""
    vertices, faces = tube(24, 12, length=1.4, radius=0.13)
    return np.stack([bent(vertices, angle) for angle in angles]), faces


def mesh_of(shapes: np.ndarray, faces: np.ndarray, anchor: int) -> Mesh:
    return Mesh(torch.tensor(shapes[anchor]).float(), torch.tensor(faces))


def test_points_are_tracked_both_ways_window_by_window(tmp_path: Path) -> None:
    shapes, faces = swings([0.0, 0.1, 0.2, 0.3, 0.4])
    clip = film(shapes, faces, tmp_path)
    true = TrueTracker(shapes, faces, [range(2, 5), range(2, -1, -1)])
    tracks = drain(track_video(mesh_of(shapes, faces, 2), clip, 2, true, SETTINGS, torch.Generator().manual_seed(0)))
    assert tracks.places.shape == (5, 300, 2) and tracks.visible.all() and true.lengths == [3, 3]
    for t in range(5):
        wanted = to_pixels(surface_at(shapes[t], tracks.corners, tracks.barycentrics), SIDE) / SIDE
        np.testing.assert_allclose(tracks.places[t], wanted, atol=0.51 / SIDE)


def test_a_longer_clip_goes_on_from_where_the_window_before_ended(tmp_path: Path) -> None:
    shapes, faces = swings([0.0, 0.1, 0.2, 0.3])
    clip = film(shapes, faces, tmp_path)
    true = TrueTracker(shapes, faces, [range(3), range(2, 4)])
    tracks = drain(track_video(mesh_of(shapes, faces, 0), clip, 0, true, SETTINGS, torch.Generator().manual_seed(0)))
    wanted = to_pixels(surface_at(shapes[3], tracks.corners, tracks.barycentrics), SIDE) / SIDE
    np.testing.assert_allclose(tracks.places[3], wanted, atol=1.1 / SIDE)  # each window asks for whole pixels


def test_points_off_the_mask_are_lost(tmp_path: Path) -> None:
    shapes, faces = swings([0.0, 0.1])
    clip = film(shapes, faces, tmp_path)
    true = TrueTracker(shapes, faces, [range(2)])
    tracks = drain(track_video(mesh_of(shapes, faces, 0), clip, 0, true, SETTINGS, torch.Generator().manual_seed(0)))
    view = tracker(shapes, faces, clip, 0).levels[1].view(1)
    astray = replace(tracks, places=tracks.places + np.array([0.0, 0.9]))
    assert len(tracks.matches(1, view).weights) > 250 and len(astray.matches(1, view).weights) == 0


def test_what_is_too_fast_for_the_flow_is_followed_by_tracks(tmp_path: Path) -> None:
    shapes, faces = swings([-0.9, 0.9])
    clip = film(shapes, faces, tmp_path)
    true = TrueTracker(shapes, faces, [range(2)])
    alone, guided = (tracker(shapes, faces, clip, 0) for _ in range(2))
    guided.tracks = drain(
        track_video(mesh_of(shapes, faces, 0), clip, 0, true, SETTINGS, torch.Generator().manual_seed(0))
    )
    lost, found = (error(drain(each.follow(each.start(), 0, 1)).vertices, shapes[1]) for each in (alone, guided))
    assert found < 0.4 * lost
