"""An endless stream of sculptures' tables, made by worker processes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.kinds import Recipe, sculpt

Tables = tuple[Tensor, Tensor, Tensor]


class Sculptures(IterableDataset[Tables]):
    """Batches of (parts (B,P,C), paints (B,Q,D), counts (B,) int32); every worker and every ``seed`` has its own."""

    def __init__(self, kinds: dict[str, tuple[Recipe, float]], batch: int, seed: int):
        super().__init__()
        self.kinds, self.batch, self.seed = kinds, batch, seed

    def __iter__(self) -> Iterator[Tables]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            yield tables(self.kinds, self.batch, rng)


def tables(
    kinds: dict[str, tuple[Recipe, float]], batch: int, rng: np.random.Generator, kind: str | None = None
) -> Tables:
    """A batch of sculptures of ``kinds``, or of the one named."""
    made = [sculpt(rng, kinds, kind)[0].tables() for _ in range(batch)]
    parts, paints = (torch.from_numpy(np.stack([m[i] for m in made])) for i in (0, 1))  # type: ignore[arg-type]
    return parts, paints, torch.tensor([m[2] for m in made], dtype=torch.int32)


def stream(
    kinds: dict[str, tuple[Recipe, float]], batch: int, seed: int, workers: int, device: torch.device
) -> Iterator[Tables]:
    """`Sculptures` on ``device``."""
    loader = DataLoader(
        Sculptures(kinds, batch, seed),
        batch_size=None,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if workers else None,
    )
    for parts, paints, counts in loader:
        yield tuple(t.to(device, non_blocking=True) for t in (parts, paints, counts))  # type: ignore[misc]
