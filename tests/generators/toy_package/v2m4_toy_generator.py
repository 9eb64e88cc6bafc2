"""An egg as large and as coloured as the object in the picture."""

from __future__ import annotations

import numpy as np
import torch
import trimesh

from v2m4.generators import Generated, GeneratorPlug
from v2m4.geometry.mesh import Mesh


class Egg:
    """Fulfils `v2m4.generators.Generator`."""

    @classmethod
    def from_settings(cls, settings, device):
        return cls()

    def __call__(self, reference, rng, device="cpu"):
        inside = reference[..., 3] > 127
        rows, columns = np.nonzero(inside)
        size = np.array([np.ptp(columns), np.ptp(columns), np.ptp(rows)]) / max(np.ptp(columns), np.ptp(rows))
        ball = trimesh.creation.icosphere(3)
        vertices = torch.from_numpy(ball.vertices * size / 2).float()
        color = torch.from_numpy(reference[inside][:, :3].mean(0) / 255).float()
        mesh = Mesh(vertices, torch.from_numpy(ball.faces).long(), colors=color.expand(len(vertices), 3).contiguous())
        return Generated(mesh.to(device))


EGG = GeneratorPlug("generator", "egg", "v2m4_toy_generator:Egg", "An egg for every picture.", "MIT", commercial=True)
