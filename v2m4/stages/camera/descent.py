"""Gradient descent on the camera's six numbers: the last phase of algorithm 1."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace

import torch
from torch import Tensor

from v2m4.nn.cuda_graphs import Repeated
from v2m4.render import render
from v2m4.render.recordable import can_record, recordable_mask
from v2m4.settings import DescentSettings
from v2m4.stages.camera.scoring import Scorer, resized
from v2m4.stages.camera.six_numbers import camera_of


def descend(scorer: Scorer, numbers: Tensor, settings: DescentSettings) -> Generator[float, None, Tensor]:
    """Gradient descent on the six numbers (6,): the masks' mean squared difference x (pixels / mask pixels).

    Adam; the numbers with the lowest loss are kept. Yields the share done after every step. On a GPU a step is
    recorded and replayed.
    """
    device = scorer.frame.device
    mask = resized(scorer.frame[..., 3:], settings.size)[..., 0]
    weight = mask.numel() / float(mask.sum().clamp_min(1.0))
    unknown = numbers.to(device).clone().requires_grad_()
    recordable = can_record(device)
    optimiser = torch.optim.Adam([unknown], lr=settings.lr, capturable=device.type == "cuda")
    # Which numbers were best stays on the device too: reading a loss waits for all that the device has still to do.
    best, lowest = unknown.detach().clone(), torch.full((), math.inf, device=device)

    def iteration() -> None:
        camera = camera_of(unknown)
        if recordable:
            batch = replace(camera, world_to_camera=camera.world_to_camera[None])
            drawn = recordable_mask(scorer.mesh.vertices, scorer.mesh.faces, batch, settings.size)
        else:
            mask_of = render(scorer.mesh, camera, settings.size, ("mask",)).mask
            assert mask_of is not None
            drawn = mask_of
        loss = weight * (drawn[0] - mask).square().mean()
        with torch.no_grad():
            better = (loss < lowest) & unknown.isfinite().all()
            best.copy_(torch.where(better, unknown, best))
            lowest.copy_(torch.where(better, loss, lowest))
        optimiser.zero_grad()
        loss.backward()
        assert unknown.grad is not None
        unknown.grad.nan_to_num_(0.0, 0.0, 0.0)  # kept by Adam's momentum, it would end the descent
        optimiser.step()

    once = Repeated(iteration, device) if recordable else iteration
    for step in range(settings.iterations):
        once()
        yield (step + 1) / settings.iterations
    return best.cpu()
