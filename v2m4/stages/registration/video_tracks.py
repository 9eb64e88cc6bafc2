"""Where a point tracker sees points of the anchor's mesh in every frame: a long memory beside the flow's short one."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from v2m4.arrays import Float64, Int64, Mask
from v2m4.clip import Clip
from v2m4.events import Progress, StageRun
from v2m4.geometry.mesh import Mesh
from v2m4.settings import VideoTrackSettings
from v2m4.stages.registration.correspondences import FrameView, PixelMatches, visible_points
from v2m4.tracks import Tracker


@dataclass(frozen=True)
class VideoTracks:
    """N points of the anchor's mesh through T frames.

    corners: (N,3) int64, barycentrics: (N,3), where they are on the mesh. places: (T,N,2) columns and rows in sides of
    the picture, its corner at 0. visible: (T,N), False where a point is hidden or lost.
    """

    corners: Int64
    barycentrics: Float64
    places: Float64
    visible: Mask

    def matches(self, index: int, view: FrameView) -> PixelMatches:
        """The points that frame ``index`` shows, where they are in its ``view``; what lies off the mask was lost."""
        size = len(view.mask)
        targets = self.places[index] * size
        columns, rows = np.floor(targets).astype(np.int64).T
        inside = (columns >= 0) & (rows >= 0) & (columns < size) & (rows < size) & self.visible[index]
        inside[inside] = view.mask[rows[inside], columns[inside]]
        return PixelMatches(
            self.corners[inside], self.barycentrics[inside], targets[inside], np.ones(int(inside.sum()))
        )


def track_video(
    mesh: Mesh, clip: Clip, anchor: int, tracker: Tracker, settings: VideoTrackSettings, rng: torch.Generator
) -> StageRun[VideoTracks]:
    """Track points, drawn among those that the anchor frame shows, forwards and backwards through the clip.

    mesh: in camera space, as the anchor frame shows it. At most ``settings.window`` frames are in memory at once: each
    window goes on from where the one before left the points.
    """
    size, count = min(settings.size, clip.side), len(clip)
    vertices, faces = mesh.vertices.cpu().numpy().astype(np.float64), mesh.faces.cpu().numpy().astype(np.int64)
    seen = visible_points(vertices, faces, size)
    chosen = torch.randperm(len(seen.rows), generator=rng)[: settings.points].numpy()
    start = torch.from_numpy(np.stack([seen.columns[chosen], seen.rows[chosen]], axis=1)).float()  # (N,2)
    positions = np.zeros((count, len(start), 2))
    visible = np.zeros((count, len(start)), bool)
    positions[anchor], visible[anchor] = start.numpy(), True
    done = 0
    for way in (range(anchor, count), range(anchor, -1, -1)):
        places = start
        for first in range(0, len(way) - 1, settings.window - 1) if len(start) else ():
            window = way[first : first + settings.window]
            frames = torch.stack([_picture(clip, index, size) for index in window])
            found = tracker(frames, torch.cat([torch.zeros(len(places), 1), places], dim=1))
            places = found.positions[-1].cpu().float()
            positions[window[1:]] = found.positions[1:].cpu().numpy()
            visible[window[1:]] = found.visible[1:].cpu().numpy()
            done += len(window) - 1
            yield Progress("registration", done / count, anchor, note="tracking points")
    # The tracker counts from the middle of the first pixel.
    return VideoTracks(seen.corners[chosen], seen.barycentrics[chosen], (positions + 0.5) / size, visible)


def _picture(clip: Clip, index: int, size: int) -> Tensor:
    """(S,S,3) in [0,1] the object on black."""
    rgba = clip.frame(index).astype(np.float32) / 255
    return torch.from_numpy(cv2.resize(rgba[..., :3] * rgba[..., 3:], (size, size), interpolation=cv2.INTER_AREA))
