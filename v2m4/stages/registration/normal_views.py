"""Normal maps of a target from all around, and how far those of another mesh are from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from v2m4.geometry.camera import Camera, surrounding_cameras
from v2m4.geometry.mesh import Mesh
from v2m4.render import render
from v2m4.render.recordable import can_record, recordable_normal_map
from v2m4.settings import MeshToMeshSettings

_PIXELS_AT_ONCE = {"cpu": 1 << 21, "cuda": 1 << 24}  # of views that are drawn together: bounds the memory
_CACHED_BYTES = {"cpu": 1 << 28, "cuda": 1 << 31}  # of the target's maps that are kept


class NormalViews:
    """A pool of cameras around the target, and the target's normal maps in them, each drawn once."""

    def __init__(self, target: Mesh, cameras: Camera, size: int) -> None:
        self._target, self._cameras, self._size = target, cameras, size
        device = target.vertices.device
        count = len(cameras.world_to_camera)
        # Half precision tells 1 from 1 - 1/2000: finer than what a difference of colours is about.
        kind = torch.float32 if device.type == "cpu" else torch.float16
        fits = count * size * size * 3 * kind.itemsize <= _CACHED_BYTES.get(device.type, _CACHED_BYTES["cpu"])
        self._maps = torch.empty(count, size, size, 3, dtype=kind, device=device) if fits and size else None
        self._absent = set(range(count))
        self._at_once = max(1, _PIXELS_AT_ONCE.get(device.type, _PIXELS_AT_ONCE["cpu"]) // max(1, size**2))

    @staticmethod
    def around(target: Mesh, settings: MeshToMeshSettings, frame: Tensor | None) -> NormalViews:
        """Evenly spread views on a sphere of ``view_radius``, in units of the target's largest extent."""
        low, high = target.vertices.amin(0).cpu(), target.vertices.amax(0).cpu()
        extent = float((high - low).max())
        if frame is None:
            frame = torch.eye(4)
            frame[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # z up becomes -y up
            frame[:3, 3] = (low + high) / 2
        cameras = surrounding_cameras(settings.view_pool, settings.view_radius * extent, frame)
        moved = replace(cameras, world_to_camera=cameras.world_to_camera.to(target.vertices.device))
        return NormalViews(target, moved, max(1, round(settings.view_detail * settings.view_size)))

    def differences(self, vertices: Tensor, faces: Tensor, count: int, rng: torch.Generator) -> Iterator[Tensor]:
        """Terms that add up to the mean absolute difference of the normal maps over ``count`` random views.

        One term for as many views as memory allows, so that it stays bounded and a caller can pause between them.
        """
        picks = torch.randperm(len(self._cameras.world_to_camera), generator=rng)[:count]
        for part in picks.split(self._at_once):
            ours = normal_map(Mesh(vertices, faces), self._camera(part), self._size)
            yield (ours - self._target_maps(part)).abs().mean() * (len(part) / len(picks))

    def recordable(self, count: int) -> bool:
        """Whether ``count`` views at a time can be compared within a recorded step: on a GPU with Triton, where they
        and the target's maps fit into memory."""
        return self._maps is not None and count <= self._at_once and can_record(self._maps.device)

    def scheduled(self, count: int, iterations: int, rng: torch.Generator) -> Callable[[Tensor, Tensor], Tensor]:
        """What gives, for vertices (V,3) and faces (F,3), the mean difference over ``count`` random views: others in
        each of so many calls, all drawn now. It waits for no device, so that it can be part of a recorded step."""
        everyone = torch.arange(len(self._cameras.world_to_camera))
        for part in everyone.split(self._at_once):
            self._target_maps(part)
        assert self._maps is not None
        maps, device = self._maps, self._maps.device
        drawn = [torch.randperm(len(everyone), generator=rng)[:count] for _ in range(iterations)]
        schedule = torch.stack(drawn).to(device)  # (iterations,count)
        turn = torch.zeros(1, dtype=torch.long, device=device)

        def difference(vertices: Tensor, faces: Tensor) -> Tensor:
            picks = schedule.index_select(0, turn % iterations)[0]
            turn.add_(1)
            camera = replace(self._cameras, world_to_camera=self._cameras.world_to_camera.index_select(0, picks))
            ours = recordable_normal_map(vertices, faces, camera, self._size)
            return (ours - maps.index_select(0, picks)).abs().mean()

        return difference

    def _camera(self, picks: Tensor) -> Camera:
        world_to_camera = self._cameras.world_to_camera
        return replace(self._cameras, world_to_camera=world_to_camera[picks.to(world_to_camera.device)])

    @torch.no_grad()
    def _target_maps(self, picks: Tensor) -> Tensor:
        if self._maps is None:
            return normal_map(self._target, self._camera(picks), self._size)
        missing = [i for i in picks.tolist() if i in self._absent]
        if missing and self._maps.is_cuda:
            missing = sorted(self._absent)  # all views in few batches take less time than each step's few
        for part in torch.tensor(missing).split(self._at_once) if missing else ():
            drawn = normal_map(self._target, self._camera(part), self._size)
            self._maps[part.to(drawn.device)] = drawn.to(self._maps.dtype)
        self._absent.difference_update(missing)
        return self._maps[picks.to(self._maps.device)]


class Pictures:
    """The weighted difference of the normal maps as terms to descend on, of ``count`` views in each iteration.

    recordable: whether an iteration can be recorded with them; then the views of all of them are drawn beforehand.
    """

    def __init__(
        self, views: NormalViews, faces: Tensor, count: int, iterations: int, weight: float, rng: torch.Generator
    ) -> None:
        self._views, self._faces, self._count, self._weight, self._rng = views, faces, count, weight, rng
        self.recordable = views.recordable(count) if weight else faces.is_cuda
        self._scheduled = views.scheduled(count, iterations, rng) if weight and self.recordable else None

    def terms(self, vertices: Tensor) -> Iterator[Tensor]:
        """Of the mesh with these vertices (V,3), one for as many views as memory allows."""
        if self._weight == 0:
            return
        if self._scheduled is not None:
            yield self._weight * self._scheduled(vertices, self._faces)
            return
        for part in self._views.differences(vertices, self._faces, self._count, self._rng):
            yield self._weight * part


def normal_map(mesh: Mesh, camera: Camera, size: int) -> Tensor:
    """(B,H,W,3) world-space normals as colours, (n + 1) / 2, on black; antialiased."""
    images = render(mesh, camera, size, ("mask", "normal"))
    assert images.normal is not None and images.mask is not None
    return 0.5 * (images.normal + images.mask[..., None])
