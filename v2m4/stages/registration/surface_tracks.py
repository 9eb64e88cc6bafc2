"""Where points of the first mesh are on all others, by a point tracker over renderings of them (the paper's release).

Every keyframe's mesh is rendered, in its own colours, from the same cameras around the first one; seen from one camera
the keyframes are a clip, through which points of the first mesh are followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.events import Progress, Steps
from v2m4.geometry.camera import Camera, surrounding_cameras
from v2m4.geometry.mesh import Mesh
from v2m4.render import Raster, rasterize, render
from v2m4.settings import TrackSettings
from v2m4.stages.registration.meshes import PointTracks
from v2m4.tracks import Tracker


@dataclass(frozen=True)
class SurfaceTracks:
    """Points of the first mesh, per view v of size x size pixels, and where they are seen in keyframe k.

    projections: (v,4,4) camera space to clip. triangles: (v,n) int64, barycentrics: (v,n,2), of corners 0 and 1.
    pixels: (k,v,n,2) columns and rows. visible: (k,v,n) bool. used: (v,n) bool, False where a view has fewer points.
    """

    projections: Tensor
    triangles: Tensor
    barycentrics: Tensor
    pixels: Tensor
    visible: Tensor
    used: Tensor
    size: int

    def at(self, keyframe: int, device: torch.device | str = "cpu") -> list[PointTracks]:
        """What the registration to a keyframe, by its place in the list, is told: the points that are seen there."""
        tracks = []
        for view in range(len(self.projections)):
            seen = self.used[view] & self.visible[keyframe, view]
            if bool(seen.any()):
                parts = (self.triangles[view][seen], self.barycentrics[view][seen], self.pixels[keyframe, view][seen])
                triangles, barycentrics, pixels = (part.to(device) for part in parts)
                projection = self.projections[view].to(device)
                tracks.append(PointTracks(projection, triangles, barycentrics, pixels, self.size))
        return tracks


def track_surface(
    meshes: Sequence[Mesh],
    tracker: Tracker,
    settings: TrackSettings,
    *,
    rng: torch.Generator,
    device: torch.device | str = "cpu",
) -> Steps[SurfaceTracks]:
    """Follow points of the first of the keyframes' ``meshes``, all in camera space, through their renderings.

    Raises V2M4Error if the first mesh shows in no view, or if the meshes have neither texture nor colours.
    """
    if any(mesh.texture is None and mesh.colors is None for mesh in meshes):
        raise V2M4Error(
            "Points cannot be tracked over meshes without colours. Choose a generator that colours its meshes, or "
            "leave registration.meshes.tracks.enabled off."
        )
    low, high = meshes[0].vertices.amin(0).cpu(), meshes[0].vertices.amax(0).cpu()
    upright = torch.eye(4)
    upright[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # z up becomes -y up
    upright[:3, 3] = (low + high) / 2
    extent = float((high - low).max())
    cameras = surrounding_cameras(settings.views, settings.view_radius * extent, upright)
    views = []
    for index, world_to_camera in enumerate(cameras.world_to_camera):
        views.append(_track_view(meshes, Camera(world_to_camera, cameras.fov_deg), tracker, settings, rng, device))
        yield Progress("registration", (index + 1) / settings.views, note="tracking points")
    if not any(bool(view.used.any()) for view in views):
        raise V2M4Error("No view shows the first mesh, so no points can be tracked on it. Check the camera search.")
    return SurfaceTracks(
        projections=torch.cat([v.projections for v in views]),
        triangles=torch.cat([v.triangles for v in views]),
        barycentrics=torch.cat([v.barycentrics for v in views]),
        pixels=torch.cat([v.pixels for v in views], dim=1),
        visible=torch.cat([v.visible for v in views], dim=1),
        used=torch.cat([v.used for v in views]),
        size=settings.view_size,
    )


def _track_view(
    meshes: Sequence[Mesh],
    camera: Camera,
    tracker: Tracker,
    settings: TrackSettings,
    rng: torch.Generator,
    device: torch.device | str,
) -> SurfaceTracks:
    """The tracks of one view, filled up to ``settings.points`` points."""
    size, count = settings.view_size, settings.points
    camera = Camera(camera.world_to_camera.to(device), camera.fov_deg)
    frames = []
    for mesh in meshes:
        image = render(mesh.to(device), camera, size, ("color",), antialias=False)
        assert image.color is not None
        frames.append(image.color[0].clamp(0, 1))  # (S, S, 3)
    first = meshes[0].to(device)
    raster: Raster = rasterize(camera.clip(first.vertices).reshape(1, -1, 4).contiguous(), first.faces, size)
    pixels = (raster.triangle[0] >= 0).nonzero().cpu()  # (F, 2) rows and columns
    pixels = pixels[torch.randperm(len(pixels), generator=rng)[:count]]
    rows, columns = pixels.unbind(1)
    triangles = raster.triangle[0].cpu()[rows, columns].long()
    barycentrics = raster.barycentrics[0].cpu()[rows, columns].float()
    points = len(pixels)
    positions, visible = torch.zeros(len(meshes), points, 2), torch.zeros(len(meshes), points, dtype=torch.bool)
    if points:
        queries = torch.stack([torch.zeros(points), columns.float(), rows.float()], dim=1)
        tracks = tracker(torch.stack(frames), queries)
        # The registration counts from the picture's corner, the tracker from the middle of the first pixel.
        positions, visible = tracks.positions.cpu() + 0.5, tracks.visible.cpu()
    return SurfaceTracks(
        projections=_projection(camera)[None].cpu(),
        triangles=_filled(triangles, count)[None],
        barycentrics=_filled(barycentrics, count)[None],
        pixels=_filled(positions.transpose(0, 1), count).transpose(0, 1)[:, None],
        visible=_filled(visible.transpose(0, 1), count).transpose(0, 1)[:, None],
        used=(torch.arange(count) < points)[None],
        size=size,
    )


def _projection(camera: Camera) -> Tensor:
    """(4,4) camera space of the video to clip space of a view, as `Camera.clip` does it."""
    basis = torch.cat([torch.zeros(1, 3), torch.eye(3)]).to(camera.world_to_camera)
    images = camera.clip(basis)  # of the origin and of the three axes' ends
    return torch.cat([images[1:] - images[:1], images[:1]]).T


def _filled(values: Tensor, count: int) -> Tensor:
    """(count, ...) with zeros behind the values."""
    return torch.cat([values, values.new_zeros(count - len(values), *values.shape[1:])])
