"""A small animated mesh, and the clip it would have been filmed in, for tests of what comes after the stages."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from v2m4.animation import Animation
from v2m4.clip import Clip
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.render.pictures import render_rgba

RINGS, SEGMENTS = 10, 16


def ball(texture_size: int = 32) -> Mesh:
    """A closed unit ball whose chequered texture has a seam and tells left from right and top from bottom."""
    vertices, uv, faces, uv_faces = [[0.0, -1.0, 0.0]], [], [], []
    for ring in range(1, RINGS):
        polar = math.pi * ring / RINGS
        for s in range(SEGMENTS):
            a = 2 * math.pi * s / SEGMENTS
            vertices.append([math.sin(polar) * math.cos(a), -math.cos(polar), math.sin(polar) * math.sin(a)])
    vertices.append([0.0, 1.0, 0.0])
    uv = [[s / SEGMENTS, ring / RINGS] for ring in range(RINGS + 1) for s in range(SEGMENTS + 1)]

    def vertex(ring: int, s: int) -> int:
        if ring == 0:
            return 0
        return len(vertices) - 1 if ring == RINGS else 1 + (ring - 1) * SEGMENTS + s % SEGMENTS

    for ring in range(RINGS):
        for s in range(SEGMENTS):
            quad = [(ring, s), (ring, s + 1), (ring + 1, s + 1), (ring + 1, s)]
            for corners in ([quad[0], quad[2], quad[1]], [quad[0], quad[3], quad[2]]):
                triangle = [vertex(*c) for c in corners]
                if len(set(triangle)) == 3:
                    faces.append(triangle)
                    uv_faces.append([r * (SEGMENTS + 1) + k for r, k in corners])
    x, y = torch.meshgrid(torch.linspace(0, 1, texture_size), torch.linspace(0, 1, texture_size), indexing="xy")
    checks = ((x * 8).floor() + (y * 8).floor()) % 2
    texture = torch.stack([0.25 + 0.5 * x, 0.3 + 0.4 * y, 0.3 + 0.4 * checks], dim=-1)
    return Mesh(torch.tensor(vertices), torch.tensor(faces), torch.tensor(uv), torch.tensor(uv_faces), texture)


def poses(mesh: Mesh, phases: Tensor) -> Tensor:
    """(K,V,3) the ball in front of the camera, bobbing, leaning and stretching; ``phases`` (K,) in turns."""
    angle = 2 * math.pi * phases[:, None]
    v = mesh.vertices[None] * 0.3
    stretch = 1 + 0.2 * angle.sin()
    x = v[..., 0] + 0.2 * v[..., 1] * angle.cos() + 0.1 * angle.sin()
    y = v[..., 1] * stretch + 0.08 * angle.cos()
    return torch.stack([x, y, v[..., 2].expand_as(x) + 2.0], dim=-1)


def bobbing_ball(times: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5, 0.8), name: str = "ball") -> Animation:
    """An animation with uneven keyframes."""
    mesh = ball()
    vertices = poses(mesh, torch.tensor(times))
    return Animation(vertices, times, mesh.with_vertices(vertices[0]), times[-1] + 0.1, name, tuple(range(len(times))))


def filmed(animation: Animation, folder: Path, times: tuple[float, ...], side: int = 96) -> Clip:
    """The clip that shows exactly the animation: a wide source of twice the pixels, padded to a square."""
    folder.mkdir(parents=True, exist_ok=True)
    source = (2 * side, side)
    clip = Clip(folder, animation.name, times, animation.duration, side, source, 0.5, (0.0, side / 4), True)
    for index, time in enumerate(times):
        picture = np.ascontiguousarray(render_rgba(animation.mesh_at(time), Camera.identity(), side))
        Image.fromarray(picture).save(clip.path(index))
    clip.save()
    return clip
