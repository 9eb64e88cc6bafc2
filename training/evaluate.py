"""How good a network is on sculptures it has never seen, kind by kind, also on kinds kept out of training.

``python -m training.evaluate WEIGHTS`` says it of a file of weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from training.kinds import HELD_OUT, TRAINED
from training.scene import Batch, make_batch
from training.tables import tables
from v2m4.generators.sculpt.leaning import sheared, slopes_of, spread_of, surest
from v2m4.generators.sculpt.network import LAYERS, ColumnNetwork, Prediction, slice_depths
from v2m4.generators.sculpt.readout import from_both, from_columns, from_layers
from v2m4.settings import LeanSettings

SEED = 990_001  # no training run uses this seed


@dataclass(frozen=True)
class Quality:
    """Means over objects. overlap: intersection over union of occupancy in the columns of the object. front, back:
    error of the first and of the last surface's depth, in widths of the crop, after the best shift of the object.
    shift: that shift. color: error of the far sides' colours."""

    overlap: float
    front: float
    back: float
    shift: float
    color: float


@dataclass(frozen=True)
class Leaning:
    """Means over objects. Told no lean (flat), the likelier one (likely), the true one (true):
    error of the slope to the right, its share with the wrong sign where the truth's is at least a quarter, and error of
    the first surface's depth after the best shift."""

    slope_flat: float
    slope_likely: float
    wrong_flat: float
    wrong_likely: float
    depth_flat: float
    depth_likely: float
    depth_true: float


READOUTS: dict[str, Callable[[Prediction], Tensor]] = {
    "half": lambda p: p.columns.float(),
    "columns": from_columns,
    "layers": from_layers,
    "both": from_both,
}


@torch.no_grad()
def evaluate(
    network: nn.Module, device: torch.device, count: int = 64, columns: int = 2048
) -> dict[str, dict[str, Quality]]:
    """Quality per way of reading the network's answer and per kind, over ``count`` sculptures of each."""
    network.eval()
    everything = {**TRAINED, **HELD_OUT}
    out: dict[str, dict[str, Quality]] = {name: {} for name in READOUTS}
    for number, kind in enumerate(everything):
        rng = torch.Generator(device).manual_seed(SEED + number)
        made = tables(everything, count, np.random.default_rng([SEED, number]), kind)
        parts, paints, counts = (t.to(device) for t in made)
        batch = make_batch(parts, paints, counts, columns, rng)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            found, _ = network(batch.image)
        for name, read in READOUTS.items():
            out[name][kind] = quality(read(found), found.colors.float(), batch)
    return out


@torch.no_grad()
def evaluate_leans(network: ColumnNetwork, device: torch.device, count: int = 64) -> dict[str, Leaning]:
    """How well the lean is told, per kind."""
    network.eval()
    everything = {**TRAINED, **HELD_OUT}
    out = {}
    for number, kind in enumerate(everything):
        rng = torch.Generator(device).manual_seed(SEED + number)
        made = tables(everything, count, np.random.default_rng([SEED, number]), kind)
        parts, paints, counts = (t.to(device) for t in made)
        batch = make_batch(parts, paints, counts, 16, rng)
        true = slopes_of(batch.sides[:, 0], batch.known)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            seen = network.look(batch.image)
            entries = [network.answer(seen).layers[:, :1]]
            flat = slopes_of(entries[0][:, 0], batch.known)
            sure = surest(network.leans(seen), spread_of(batch.known), LeanSettings.worst)
            likely = torch.stack([sure, flat[:, 1]], dim=-1)
            entries += [network.answer(seen, lean).layers[:, :1] for lean in (likely, true)]
        for k, lean in ((1, likely), (2, true)):
            entries[k] = sheared(entries[k], lean - slopes_of(entries[k][:, 0], batch.known), batch.known)
        ok, turned = batch.valid, batch.valid & (true[:, 0].abs() > 0.25)
        slopes = [float((lean - true)[ok, 0].abs().mean()) for lean in (flat, likely)]
        wrong = [float((lean[turned, 0] * true[turned, 0] < 0).float().mean()) for lean in (flat, likely)]
        out[kind] = Leaning(*slopes, *wrong, *(_depth_error(e[:, 0], batch) for e in entries))
    return out


def _depth_error(entry: Tensor, batch: Batch) -> float:
    gap = torch.where(batch.known, entry - batch.sides[:, 0], torch.nan).flatten(1)
    error = (gap - gap.nanmedian(1, keepdim=True).values).abs().nanmean(1)
    return float(error[batch.valid].nanmean())


def quality(volume: Tensor, colors: Tensor, batch: Batch) -> Quality:
    """Of predictions (B,SLICES,GRID,GRID), positive inside, and (B,6,GRID,GRID) for a batch."""
    picked = at_pixels(volume, batch.pixels)
    inside, truth = picked > 0, batch.columns > 0.5
    overlap = (inside & truth).sum((1, 2)) / (inside | truth).sum((1, 2)).clamp_min(1)
    both = inside.any(-1) & truth.any(-1)  # (B,N)
    depths = slice_depths(picked.device)
    ends = [_ends(m, depths) for m in (inside, truth)]  # (B,N,2) each
    gap = torch.where(both[..., None], ends[0] - ends[1], torch.nan)
    shift = gap.flatten(1).nanmedian(1).values.nan_to_num()
    error = (gap - shift[:, None, None]).abs().nanmean(1)  # (B,2)
    wrong = ((colors - batch.colors).abs().mean(1) * batch.known).sum((1, 2)) / batch.known.sum((1, 2)).clamp_min(1)
    ok = batch.valid
    values = (overlap, error[:, 0], error[:, 1], shift.abs(), wrong)
    return Quality(*(float(v[ok].nanmean()) for v in values))


def _ends(inside: Tensor, depths: Tensor) -> Tensor:
    """(B,N,2) depths of the first and of the last slice inside."""
    first = inside.float().argmax(-1)
    last = len(depths) - 1 - inside.flip(-1).float().argmax(-1)
    return depths[torch.stack([first, last], dim=-1)]


def layers_of(columns: Tensor) -> tuple[Tensor, Tensor]:
    """Depths (…,2*LAYERS) of the entries and exits of columns (…,SLICES) of soft occupancy, and whether each layer
    exists (…,LAYERS). Between slices the surface lies where the occupancy, read linearly, is one half."""
    depths = slice_depths(columns.device)
    step = depths[1] - depths[0]
    padded = F.pad(columns, (1, 1))
    before, after = padded[..., :-1], padded[..., 1:]
    crossing = (before > 0.5) != (after > 0.5)
    number = crossing.cumsum(-1)
    share = (0.5 - before) / torch.where(crossing, after - before, 1.0)
    start = torch.cat([depths[:1] - step, depths])
    at = start + step * share
    found = [torch.where(crossing & (number == k + 1), at, 0.0).sum(-1) for k in range(2 * LAYERS)]
    return torch.stack(found, dim=-1), number[..., -1:] > 2 * torch.arange(LAYERS, device=columns.device)


def at_pixels(volume: Tensor, pixels: Tensor) -> Tensor:
    """(B,N,C) of (B,C,H,W) at flat indices (B,N)."""
    return volume.flatten(2).gather(2, pixels[:, None].expand(-1, volume.shape[1], -1)).transpose(1, 2)


def report(found: dict[str, dict[str, Quality]], leans: dict[str, Leaning]) -> str:
    """Tables of `evaluate`'s and `evaluate_leans`'s answers, with the means over trained and over held-out kinds."""
    lines = []
    tables: dict[str, dict[str, Any]] = {**found, "lean": leans}
    for readout, kinds in tables.items():
        names = [f.name for f in fields(next(iter(kinds.values())))]
        lines.append(f"{readout:<13} " + "  ".join(f"{n:<7}" for n in names))
        rows = {kind: [getattr(q, n) for n in names] for kind, q in kinds.items()}
        for title, group in {"trained": TRAINED, "held out": HELD_OUT}.items():
            rows[title] = list(np.nanmean([rows[k] for k in group], axis=0))
        lines += [
            f"{title:<13} " + "  ".join(f"{v:<{max(7, len(n))}.4f}" for n, v in zip(names, row, strict=True))
            for title, row in rows.items()
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="sculpt.safetensors")
    parser.add_argument("--count", type=int, default=64, help="sculptures of each kind")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = ColumnNetwork()
    network.load_state_dict({name: value.float() for name, value in load_file(arguments.weights).items()})
    network.to(device)
    print(report(evaluate(network, device, arguments.count), evaluate_leans(network, device, arguments.count)))


if __name__ == "__main__":
    main()
