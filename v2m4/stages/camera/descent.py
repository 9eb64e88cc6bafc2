"""Gradient descent on the camera's six numbers: the last phase of algorithm 1."""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from torch import Tensor

from v2m4.render import render
from v2m4.settings import DescentSettings
from v2m4.stages.camera.scoring import Scorer, resized
from v2m4.stages.camera.six_numbers import camera_of


def descend(scorer: Scorer, numbers: Tensor, settings: DescentSettings) -> Generator[float, None, Tensor]:
    """Gradient descent on the six numbers (6,): the masks' mean squared difference x (pixels / mask pixels).

    Adam; the numbers with the lowest loss are kept. Yields the share done after every step.
    """
    mask = resized(scorer.frame[..., 3:], settings.size)[..., 0]
    weight = mask.numel() / float(mask.sum().clamp_min(1.0))
    unknown = numbers.to(scorer.frame.device).clone().requires_grad_()
    optimiser = torch.optim.Adam([unknown], lr=settings.lr)
    # Which numbers were best stays on the device too: reading a loss waits for all that the device has still to do.
    best, lowest = unknown.detach().clone(), torch.full((), math.inf, device=unknown.device)
    for step in range(settings.iterations):
        drawn = render(scorer.mesh, camera_of(unknown), settings.size, ("mask",)).mask
        assert drawn is not None
        loss = weight * (drawn[0] - mask).square().mean()
        with torch.no_grad():
            better = (loss < lowest) & unknown.isfinite().all()
            best, lowest = torch.where(better, unknown, best), torch.where(better, loss, lowest)
        optimiser.zero_grad()
        loss.backward()
        assert unknown.grad is not None
        unknown.grad.nan_to_num_(0.0, 0.0, 0.0)  # kept by Adam's momentum, it would end the descent
        optimiser.step()
        yield (step + 1) / settings.iterations
    return best.cpu()
