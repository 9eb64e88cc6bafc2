"""The stereo step: the reference's camera from the best renderings, whose surface points are known (section 4.1)."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.geometry.camera import Camera
from v2m4.render import render_fast
from v2m4.settings import StereoStepSettings
from v2m4.stages.camera.scoring import Scorer, resized
from v2m4.stages.camera.stereo_fit import (
    camera_by_descent,
    camera_by_pnp,
    similarity_by_chamfer,
    similarity_by_matches,
    subset,
)
from v2m4.stages.progress import between
from v2m4.stereo import Locator, Stereo


@torch.no_grad()
def _pictures(scorer: Scorer, cameras: Camera, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The frame (H,W,3) and its mask, and the renderings (N,H,W,3), their surface points and masks."""
    w2c = cameras.world_to_camera.to(scorer.frame.device)
    images = render_fast(scorer.mesh, Camera(w2c, cameras.fov_deg), size, ("color", "position"))
    assert images.color is not None and images.position is not None
    frame = resized(scorer.frame, size)
    return frame[..., :3].clamp(0, 1), frame[..., 3] > 0.5, images.color, images.position, images.triangle >= 0


def stereo_camera(
    scorer: Scorer,
    cameras: Camera,
    stereo: Stereo | Locator,
    settings: StereoStepSettings,
    rng: torch.Generator,
) -> Generator[float, None, Camera | None]:
    """The camera that stereo finds from the renderings of ``cameras`` (N,4,4), best first; None where it fails.

    A model of point maps goes the way of ``settings.fit``; a `Locator`'s matches go to PnP directly. Yields the
    share done.
    """
    # 1. The frame and the renderings, whose pixels' surface points are known.
    frame, mask, renderings, positions, inside = _pictures(scorer, cameras, settings.size)
    yield 0.05
    # 2. A plug that matches renderings and frame itself leaves only PnP to do.
    if isinstance(stereo, Locator):
        matches = stereo.locate(frame, renderings, positions, inside)
        tolerance = settings.match_tolerance
        return camera_by_pnp(matches.points, matches.pixels, cameras.fov_deg, settings, tolerance=tolerance)
    # 3. Point maps of all pictures in one world, the frame's first; of each, its object's surer pixels.
    maps = stereo(torch.cat([frame[None], renderings]))  # (1+N,H,W,3)
    yield 0.3
    points, confidence = maps.points.to(frame), maps.confidence.to(frame)
    # A model that is out of its depth may answer with no numbers at all.
    sound = torch.cat([mask[None], inside]) & points.isfinite().all(-1) & confidence.isfinite()
    trusted = torch.stack([_trusted(c, m, settings.leave_out) for c, m in zip(confidence, sound, strict=True)])
    own, others = trusted[0], trusted[1:]  # (H,W), (N,H,W)
    if min(int(own.sum()), int(others.sum())) < settings.fewest:
        return None
    # 4. The similarity that lays the renderings' points onto the mesh.
    predicted, true = points[1:][others], positions[others]  # (P,3), (P,3)
    matched = settings.fit == "matched"
    try:
        if matched:
            weights = confidence[1:][others]
            similarity = similarity_by_matches(predicted, true, weights, settings, rng)
        else:
            clouds = [
                cloud[subset(len(cloud), settings.keep, settings.least_points, settings.points, rng).to(cloud.device)]
                for cloud in (predicted, positions[inside])
            ]
            fitting = similarity_by_chamfer(clouds[0], clouds[1], settings, rng)
            similarity = yield from between(fitting, 0.3, 0.8)
    except V2M4Error:
        return None
    # 5. It lays the frame's points there too; the camera is the one that sees them at their pixels.
    row, column = own.nonzero().float().unbind(1)
    pixels = torch.stack([column + 0.5, row + 0.5], dim=1) / settings.size  # (Q,2)
    located = similarity.apply(points[0][own])  # (Q,3)
    picks = subset(len(located), 1.0, settings.least_points, settings.points, rng).to(located.device)  # (M,)
    if matched:
        tolerance = settings.map_tolerance
        return camera_by_pnp(located[picks], pixels[picks], cameras.fov_deg, settings, tolerance=tolerance)
    start = Camera(cameras.world_to_camera[0], cameras.fov_deg)
    posing = camera_by_descent(located[picks], pixels[picks], start, settings)
    found = yield from between(posing, 0.8, 1.0)
    return found if bool(found.world_to_camera.isfinite().all()) else None


def _trusted(confidence: Tensor, inside: Tensor, leave_out: float) -> Tensor:
    """(H,W) the pixels of the object, but for the share that the model is least sure of."""
    if not bool(inside.any()):
        return inside
    values = confidence[inside]
    least = values.sort().values[int(leave_out * len(values))]
    return inside & (confidence >= least)
