"""Where points of the first mesh are on the next, by a point tracker over renderings of them (the paper's release).

Every keyframe's mesh is rendered, in its own colours, from the same cameras around the first one; seen from one camera
the keyframes are a clip, through which points of the first mesh are followed. The release tracks whole chunks of
keyframes at once; here each keyframe is reached from a few before it, since later meshes do not exist yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.events import Progress, StageRun
from v2m4.geometry.camera import Camera, surrounding_cameras
from v2m4.geometry.mesh import Mesh
from v2m4.render import rasterize, render
from v2m4.settings import TrackSettings
from v2m4.stages.registration.meshes import PointTracks
from v2m4.tracks import Tracker


@dataclass(frozen=True)
class SurfaceTracks:
    """Points of the first mesh and where v views of ``size`` x ``size`` pixels show them in one keyframe.

    world_to_camera: (v,4,4) of the views, from the video camera's space. triangle: (v,n) int64, barycentrics: (v,n,2),
    of corners 0 and 1. used: (v,n) bool, False where a view has fewer points. pixels: (v,n,2) columns and rows, the
    picture's corner at 0. visible: (v,n) bool.
    """

    world_to_camera: Tensor
    triangle: Tensor
    barycentrics: Tensor
    used: Tensor
    pixels: Tensor
    visible: Tensor
    size: int

    def for_registration(self, device: torch.device | str = "cpu") -> list[PointTracks]:
        """What pulls the mesh: the points that are seen, view by view."""
        tracks = []
        for view, world_to_camera in enumerate(self.world_to_camera):
            seen = self.used[view] & self.visible[view]
            if bool(seen.any()):
                parts = (self.triangle[view][seen], self.barycentrics[view][seen], self.pixels[view][seen])
                triangle, barycentrics, pixels = (part.to(device) for part in parts)
                projection = _projection(Camera(world_to_camera)).to(device)
                tracks.append(PointTracks(projection, triangle, barycentrics, pixels, self.size))
        return tracks


def begin_tracks(
    mesh: Mesh, settings: TrackSettings, *, rng: torch.Generator, device: torch.device | str = "cpu"
) -> SurfaceTracks:
    """Points of the first mesh, in camera space, drawn among the pixels that show it from all around.

    Raises V2M4Error if it shows in no view.
    """
    low, high = mesh.vertices.amin(0).cpu(), mesh.vertices.amax(0).cpu()
    upright = torch.eye(4)
    upright[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # z up becomes -y up
    upright[:3, 3] = (low + high) / 2
    cameras = surrounding_cameras(settings.views, settings.view_radius * float((high - low).max()), upright)
    on_device, size, count = mesh.to(device), settings.view_size, settings.points
    triangle = torch.zeros(settings.views, count, dtype=torch.int64)
    barycentrics, pixels = torch.zeros(settings.views, count, 2), torch.zeros(settings.views, count, 2)
    used = torch.zeros(settings.views, count, dtype=torch.bool)
    for view, world_to_camera in enumerate(cameras.world_to_camera):
        clip = Camera(world_to_camera.to(device)).clip(on_device.vertices)
        raster = rasterize(clip[None].contiguous(), on_device.faces, size)
        inside = (raster.triangle[0] >= 0).nonzero().cpu()  # (F, 2) rows and columns
        inside = inside[torch.randperm(len(inside), generator=rng)[:count]]
        rows, columns = inside.unbind(1)
        triangle[view, : len(inside)] = raster.triangle[0].cpu()[rows, columns].long()
        barycentrics[view, : len(inside)] = raster.barycentrics[0].cpu()[rows, columns].float()
        pixels[view, : len(inside)] = torch.stack([columns, rows], dim=1) + 0.5
        used[view, : len(inside)] = True
    if not bool(used.any()):
        raise V2M4Error("No view shows the first mesh, so no points can be tracked on it. Check the camera search.")
    return SurfaceTracks(cameras.world_to_camera, triangle, barycentrics, used, pixels, used.clone(), size)


def follow_tracks(
    start: SurfaceTracks, meshes: Sequence[Mesh], tracker: Tracker, *, device: torch.device | str = "cpu"
) -> StageRun[SurfaceTracks]:
    """The tracks in the last of ``meshes``, all in camera space, from where they are (``start``) in the first of them.

    Raises V2M4Error if the meshes have neither texture nor colours.
    """
    if any(mesh.texture is None and mesh.colors is None for mesh in meshes):
        raise V2M4Error(
            "Points cannot be tracked over meshes without colours. Choose a generator that colours its meshes, or "
            "leave registration.meshes.tracks.enabled off."
        )
    pixels, visible = start.pixels.clone(), torch.zeros_like(start.visible)
    for view, world_to_camera in enumerate(start.world_to_camera):
        asked = start.used[view]
        if bool(asked.any()):
            frames = torch.stack([_picture(mesh, world_to_camera, start.size, device) for mesh in meshes])
            # The tracker counts from the middle of the first pixel.
            places = start.pixels[view][asked] - 0.5
            found = tracker(frames, torch.cat([torch.zeros(len(places), 1), places], dim=1))
            pixels[view, asked] = found.positions[-1].cpu() + 0.5
            visible[view, asked] = found.visible[-1].cpu()
        yield Progress("registration", (view + 1) / len(start.world_to_camera), note="tracking points")
    return replace(start, pixels=pixels, visible=visible)


def _picture(mesh: Mesh, world_to_camera: Tensor, size: int, device: torch.device | str) -> Tensor:
    """(S,S,3) the mesh in its own colours on black."""
    image = render(mesh.to(device), Camera(world_to_camera.to(device)), size, ("color",), antialias=False)
    assert image.color is not None
    return image.color.reshape(size, size, 3).clamp(0, 1)


def _projection(camera: Camera) -> Tensor:
    """(4,4) from the space of the meshes to clip space, as `Camera.clip` does it."""
    ends = camera.clip(torch.cat([torch.zeros(1, 3), torch.eye(3)]).to(camera.world_to_camera))
    return torch.cat([ends[1:] - ends[:1], ends[:1]]).T
