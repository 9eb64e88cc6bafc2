"""Train the network of the generator `sculpt`:  python -m training.train RUN --minutes 9

Runs in slices. A slice goes on from RUN/state.pt if that exists, with a fresh optimiser from RUN/sculpt.safetensors if
only that does, and else starts anew. It ends after ``--minutes``, or when ``--steps`` are done, and leaves state.pt
(everything), sculpt.safetensors (the averaged weights in half precision: what is shipped) and a line of log.csv per
hundred steps.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from training.evaluate import at_pixels, evaluate, layers_of, report
from training.kinds import TRAINED
from training.scene import Batch, make_batch
from training.tables import stream
from v2m4.generators.sculpt.network import ColumnNetwork, Prediction


@dataclass(frozen=True)
class Recipe:
    """Every number of the training."""

    batch: int = 64
    columns: int = 1536
    """Columns of each object that are compared with the truth in a step."""
    steps: int = 24_000
    """The whole training; the learning rate falls to its end over them."""
    rate: float = 8e-4
    last_rate: float = 1e-5
    warmup: int = 400
    decay: float = 0.02
    """Weight decay (AdamW, Loshchilov and Hutter 2019)."""
    clip: float = 1.0
    """Largest norm of a gradient."""
    average: float = 0.999
    """Share of the old in the running average of the weights that is shipped."""
    depth: float = 2.0
    """Weight of the layers' depths beside the occupancy."""
    exist: float = 0.2
    """Weight of whether there are second and third layers."""
    color: float = 0.5
    """Weight of the far sides' colours."""
    seed: int = 1


def learning_rate(step: int, recipe: Recipe, since: int) -> float:
    """Half a cosine over the whole training, with a warm-up also after ``since``, the first step of a slice whose
    optimiser began anew."""
    warm = min(1.0, (step - since + 1) / recipe.warmup)
    turn = 0.5 * (1 + math.cos(math.pi * min(1.0, step / recipe.steps)))
    return warm * (recipe.last_rate + (recipe.rate - recipe.last_rate) * turn)


def loss_of(found: Prediction, batch: Batch, recipe: Recipe) -> tuple[Tensor, Tensor, Tensor]:
    """The loss over a batch's valid examples, and its parts of occupancy and of layers' depths, as means."""
    columns = at_pixels(found.columns, batch.pixels).float()
    occupancy = F.binary_cross_entropy_with_logits(columns, batch.columns, reduction="none").mean((1, 2))
    depths, exist = layers_of(batch.columns)
    there = exist.float()
    gap = (at_pixels(found.layers, batch.pixels) - depths).abs() * there.repeat_interleave(2, -1)
    depth = gap.sum((1, 2)) / (2 * there.sum((1, 2))).clamp_min(1)
    guess = at_pixels(found.exist, batch.pixels)
    present = F.binary_cross_entropy_with_logits(guess, there, reduction="none").mean((1, 2))
    far = (found.colors.float() - batch.colors).abs().mean(1) * batch.known
    color = far.sum((1, 2)) / batch.known.sum((1, 2)).clamp_min(1)
    each = occupancy + recipe.depth * depth + recipe.exist * present + recipe.color * color
    return tuple(_mean(v, batch.valid) for v in (each, occupancy, depth))  # type: ignore[return-value]


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    # What is not valid may be infinite or not a number: it is chosen away, not multiplied by zero.
    return torch.where(valid, values, torch.zeros_like(values)).sum() / valid.sum().clamp_min(1)


class Trainer:
    """Network, average and optimiser, one step at a time."""

    def __init__(self, recipe: Recipe, device: torch.device, network: nn.Module | None = None, compiled: bool = True):
        torch.manual_seed(recipe.seed)
        self.recipe, self.device = recipe, device
        self.network = (network or ColumnNetwork()).to(device)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        if device.type == "cuda":
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.forward: Callable[[Tensor], Prediction] = (
            torch.compile(self.network) if compiled and device.type == "cuda" else self.network
        )
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), recipe.rate, (0.9, 0.98), weight_decay=recipe.decay, fused=device.type == "cuda"
        )
        self.step = self.since = self.skipped = 0

    def train(self, batch: Batch) -> tuple[float, float, float]:
        """One step: the losses of occupancy and of depths, and the gradient's norm. A step whose gradient is not finite
        is skipped."""
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.recipe, self.since)
        image = torch.where(batch.valid[:, None, None, None], batch.image, 0.0)
        image = image.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            found = self.forward(image)
        loss, occupancy, depth = loss_of(found, batch, self.recipe)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip))
        if math.isfinite(norm):
            self.optimizer.step()
            self._average()
        else:
            self.skipped += 1
        self.step += 1
        return float(occupancy.detach()), float(depth.detach()), norm

    @torch.no_grad()
    def _average(self) -> None:
        # The average follows closely at first, else it would remember the random start.
        keep = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.network.parameters()), 1 - keep)

    def save(self, folder: Path) -> None:
        """Leave state.pt and sculpt.safetensors, never half a file."""
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        torch.save(state, folder / "state.tmp")
        (folder / "state.tmp").replace(folder / "state.pt")
        half = {n: t.half().contiguous().cpu() for n, t in self.averaged.state_dict().items()}
        save_file(half, folder / "sculpt.tmp", metadata={"step": str(self.step)})
        (folder / "sculpt.tmp").replace(folder / "sculpt.safetensors")

    def load(self, folder: Path) -> bool:
        """Go on where the slice before ended; False if there was none."""
        if (folder / "state.pt").is_file():
            state = torch.load(folder / "state.pt", map_location=self.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
        elif (folder / "sculpt.safetensors").is_file():
            with safe_open(folder / "sculpt.safetensors", "pt") as file:
                weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
                self.step = self.since = int(file.metadata()["step"])
            self.network.load_state_dict(weights)
            self.averaged.load_state_dict(weights)
        else:
            return False
        return True


def run_slice(trainer: Trainer, folder: Path, seconds: float, workers: int, started: float) -> None:
    """Train until ``seconds`` after ``started`` or the end of the recipe, then save and say how good it is."""
    recipe, device = trainer.recipe, trainer.device
    folder.mkdir(parents=True, exist_ok=True)
    resumed = trainer.load(folder)
    print(f"{'going on at' if resumed else 'starting at'} step {trainer.step}", flush=True)
    rng = torch.Generator(device).manual_seed(recipe.seed * 1_000_003 + trainer.step)
    source = stream(TRAINED, recipe.batch, recipe.seed * 1_000_003 + trainer.step, workers, device)
    log = folder / "log.csv"
    if not log.is_file():
        log.write_text("step,seconds,occupancy,depth,gradient,skipped\n")
    losses: list[tuple[float, float]] = []
    while trainer.step < recipe.steps and time.monotonic() - started < seconds:
        parts, paints, counts = next(source)
        occupancy, depth, norm = trainer.train(make_batch(parts, paints, counts, recipe.columns, rng))
        losses.append((occupancy, depth))
        if trainer.step % 100 == 0 or trainer.step == recipe.steps:
            means = ",".join(f"{sum(v) / len(v):.5f}" for v in zip(*losses, strict=True))
            line = f"{trainer.step},{time.monotonic() - started:.1f},{means},{norm:.3f},{trainer.skipped}"
            print(line, flush=True)
            with log.open("a") as file:
                file.write(line + "\n")
            losses.clear()
    trainer.save(folder)
    if device.type == "cuda":
        text = report(evaluate(trainer.averaged, device))
        (folder / f"quality_{trainer.step}.txt").write_text(text + "\n")
        print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--minutes", type=float, default=8.0, help="length of this slice")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="length of the whole training")
    parser.add_argument("--batch", type=int, default=Recipe.batch)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--workers", type=int, default=max(0, (os.cpu_count() or 1) - 2))
    arguments = parser.parse_args()
    started = time.monotonic()
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = Recipe(steps=arguments.steps, batch=arguments.batch, seed=arguments.seed)
    run_slice(Trainer(recipe, device), arguments.run, 60 * arguments.minutes, arguments.workers, started)


if __name__ == "__main__":
    main()
