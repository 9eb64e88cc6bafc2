"""Train the network of the generator `sculpt`:  python -m training.train RUN --minutes 9

On all CUDA GPUs of the machine, a process each: every one makes its own sculptures, and the gradients are averaged.
Runs in slices. A slice goes on from RUN/state.pt if that exists, with a fresh optimiser from RUN/sculpt.safetensors if
only that does, and else starts anew. It ends after ``--minutes``, over which the learning rate falls to almost nothing,
and leaves state.pt (everything), sculpt.safetensors (the averaged weights in half precision: what is shipped) and a
line of log.csv per hundred steps. The files are also left every minute and a half: machines may go away.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from training.evaluate import at_pixels, evaluate, evaluate_leans, layers_of, report
from training.kinds import TRAINED
from training.scene import Batch, make_batch
from training.tables import stream
from v2m4.generators.sculpt.answers import mirror_image
from v2m4.generators.sculpt.leaning import bins_around, sheared, slopes_of
from v2m4.generators.sculpt.network import GRID, ColumnNetwork, Prediction


@dataclass(frozen=True)
class Recipe:
    """Every number of the training."""

    batch: int = 64
    """Sculptures in a step of one process."""
    columns: int = 640
    """Columns of each object that are compared with the truth in a step."""
    steps: int = 0
    """Most steps of a slice; 0: as many as its time allows."""
    rate: float = 8e-4
    """For one process; it grows with the root of their number, as the gradient's noise falls (Malladi et al. 2022)."""
    last_rate: float = 1e-5
    warmup: int = 400
    decay: float = 0.02
    """Weight decay (AdamW, Loshchilov and Hutter 2019)."""
    clip: float = 1.0
    """Largest norm of a gradient."""
    average: float = 0.999
    """Share of the old in the running average of the weights that is shipped."""
    depth: float = 1.5
    """Weight of the layers' depths beside the occupancy."""
    sides: float = 1.5
    """Weight of the depths of the first layer's two sides, over all of the picture."""
    slant: float = 0.75
    """Weight of the differences of those depths between places near and far: a turned shape is flat or leans where they
    are wrong."""
    overlap: float = 0.25
    """Weight of the share of the first layer that is missed."""
    exist: float = 0.2
    """Weight of whether there are second and third layers."""
    color: float = 0.5
    """Weight of the far sides' colours."""
    lean: float = 0.2
    """Weight of the lean's likelihood."""
    soft: float = 0.8
    """Width in bins of what counts as the true lean."""
    told: float = 0.7
    """Share of the examples whose true lean is told, so that only the rest of the depths is learnt; without it the
    others' answer stays the mean over all leans."""
    misheard: float = 0.1
    """Standard deviation of what is told about the true slopes: in use the lean will be off by a bin or two."""
    mirrored: bool = True
    """Every batch is learnt from twice, the second time as its mirror image: making one takes half a step."""
    seed: int = 1


STRIDES = (1, 4, 16, 48)  # cells of the grid between the places whose depths are compared
SAVED_S = 90.0  # seconds between two savings within a slice


def learning_rate(steps: int, progress: float, recipe: Recipe, processes: int = 1) -> float:
    """Half a cosine over a slice (warm restarts: Loshchilov and Hutter 2017), of which the share ``progress`` is over,
    with a warm-up over the ``steps`` of an optimiser that began anew."""
    rate = recipe.rate * math.sqrt(processes)
    warm = min(1.0, (steps + 1) / recipe.warmup)
    turn = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return warm * (recipe.last_rate + (rate - recipe.last_rate) * turn)


def loss_of(
    found: Prediction, leans: Tensor, batch: Batch, told: Tensor, recipe: Recipe
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss over a batch's valid examples, and its parts of occupancy, layers' depths and lean, as means.

    found: its columns are those of the batch's pixels. leans: (B,LEANS,LEANS) logits. told: (B,) bool, whose lean was
    told; their depths are sheared to it."""
    lean = torch.where(batch.valid[:, None], slopes_of(batch.sides[:, 0], batch.known), 0.0)
    likely = -(bins_around(lean, recipe.soft) * leans.flatten(1).log_softmax(1).view_as(leans)).sum((1, 2))
    more = (lean - slopes_of(found.layers[:, 0].float(), batch.known)) * told[:, None]
    found = found._replace(layers=sheared(found.layers, more, batch.known))
    columns = found.columns[..., 0].transpose(1, 2).float()  # (B,N,SLICES)
    occupancy = F.binary_cross_entropy_with_logits(columns, batch.columns, reduction="none").mean((1, 2))
    depths, exist = layers_of(batch.columns)
    there = exist.float()
    gap = (at_pixels(found.layers, batch.pixels) - depths).abs() * there.repeat_interleave(2, -1)
    depth = gap.sum((1, 2)) / (2 * there.sum((1, 2))).clamp_min(1)
    sides, slant, missed = side_losses(found.layers[:, :2].float(), batch.sides, batch.known)
    guess = at_pixels(found.exist, batch.pixels)
    present = F.binary_cross_entropy_with_logits(guess, there, reduction="none").mean((1, 2))
    far = (found.colors.float() - batch.colors).abs().mean(1) * batch.known
    color = far.sum((1, 2)) / batch.known.sum((1, 2)).clamp_min(1)
    each = occupancy + recipe.depth * depth + recipe.exist * present + recipe.color * color
    each = each + recipe.sides * sides + recipe.slant * slant + recipe.overlap * missed + recipe.lean * likely
    return tuple(_mean(v, batch.valid) for v in (each, occupancy, depth, likely))  # type: ignore[return-value]


def mirrored(batch: Batch) -> Batch:
    """The same examples, left and right exchanged."""
    row, column = batch.pixels // GRID, batch.pixels % GRID
    return Batch(
        mirror_image(batch.image),
        row * GRID + (GRID - 1 - column),
        batch.columns,
        batch.sides.flip(-1),
        batch.colors.flip(-1),
        batch.known.flip(-1),
        batch.valid,
    )


def side_losses(found: Tensor, truth: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the first layer's entries and exits (B,2,GRID,GRID) where they are known (B,GRID,GRID), each (B,): the mean
    error; the mean error of differences between places `STRIDES` apart, along rows and columns (after Eigen and Fergus
    2015); one minus the layers' intersection over union."""
    there = known[:, None].float()
    gap = torch.where(known[:, None], found - truth, 0.0)
    count = there.sum((1, 2, 3)).clamp_min(1)
    sides = gap.abs().sum((1, 2, 3)) / (2 * count)
    slants = []
    for stride in STRIDES:
        for axis in (2, 3):
            size = gap.shape[axis] - stride
            both = there.narrow(axis, stride, size) * there.narrow(axis, 0, size)
            change = (gap.narrow(axis, stride, size) - gap.narrow(axis, 0, size)).abs() * both
            slants.append(change.sum((1, 2, 3)) / (2 * both.sum((1, 2, 3)).clamp_min(1)))
    shared = torch.minimum(found[:, 1], truth[:, 1]) - torch.maximum(found[:, 0], truth[:, 0])
    whole = torch.maximum(found[:, 1], truth[:, 1]) - torch.minimum(found[:, 0], truth[:, 0])
    shared, whole = (torch.where(known, v, 0.0).clamp_min(0).sum((1, 2)) for v in (shared, whole))
    return sides, torch.stack(slants).mean(0), 1 - shared / whole.clamp_min(1e-6)


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    # What is not valid may be infinite or not a number: it is chosen away, not multiplied by zero.
    return torch.where(valid, values, torch.zeros_like(values)).sum() / valid.sum().clamp_min(1)


class Trainer:
    """Network, average and optimiser, one step at a time; with a process group the gradients are its members' mean."""

    def __init__(self, recipe: Recipe, device: torch.device, network: nn.Module | None = None, compiled: bool = True):
        torch.manual_seed(recipe.seed)
        self.recipe, self.device = recipe, device
        self.processes, self.rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
        self.network = (network or ColumnNetwork()).to(device)
        if self.processes > 1:
            for weights in self.network.parameters():
                dist.broadcast(weights.data, 0)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        if device.type == "cuda":
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.forward: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Prediction, Tensor]] = (
            torch.compile(self.network) if compiled and device.type == "cuda" else self.network
        )
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), recipe.rate, (0.9, 0.98), weight_decay=recipe.decay, fused=device.type == "cuda"
        )
        self.step = self.since = self.skipped = 0
        self.progress = 0.0

    def train(self, batch: Batch, progress: float = 0.0) -> tuple[list[float], float]:
        """One step: the losses of occupancy, depths and lean, and the gradient's norm. ``progress``: the share of the
        slice that is over, as the first process sees it; all take it from there for their next step. A step whose
        gradient is not finite is skipped."""
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step - self.since, self.progress, self.recipe, self.processes)
        image = torch.where(batch.valid[:, None, None, None], batch.image, 0.0)
        image = image.contiguous(memory_format=torch.channels_last)
        lean = torch.where(batch.valid[:, None], slopes_of(batch.sides[:, 0], batch.known), 0.0)
        heard = lean + self.recipe.misheard * torch.randn_like(lean)
        told = torch.rand(len(lean), device=self.device) < self.recipe.told
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            found, leans = self.forward(image, heard, told, batch.pixels)
        loss, *parts = loss_of(found, leans, batch, told, self.recipe)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        over = progress * self.processes if self.rank == 0 else 0.0
        means = self._shared(torch.stack([*(p.detach() for p in parts), loss.new_tensor(over)]))
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip))
        if math.isfinite(norm):
            self.optimizer.step()
            self._average()
        else:
            self.skipped += 1
        self.step += 1
        *losses, self.progress = means.tolist()
        return losses, norm

    def _shared(self, numbers: Tensor) -> Tensor:
        """The mean over the processes of ``numbers`` (N,) and, in place, of the gradients."""
        if self.processes == 1:
            return numbers
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        flat = torch.cat([numbers, *(g.reshape(-1) for g in gradients)])
        dist.all_reduce(flat)
        flat /= self.processes
        parts = flat.split([len(numbers), *(g.numel() for g in gradients)])
        for gradient, mean in zip(gradients, parts[1:], strict=True):
            gradient.copy_(mean.view(gradient.shape))
        return parts[0]

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
    """Train until ``seconds`` after ``started`` or the recipe's most steps, then save and say how good it is."""
    recipe, device = trainer.recipe, trainer.device
    folder.mkdir(parents=True, exist_ok=True)
    resumed = trainer.load(folder)
    first = trainer.rank == 0
    if first:
        print(f"{'going on at' if resumed else 'starting at'} step {trainer.step}, {trainer.processes} x", flush=True)
    seed = recipe.seed * 1_000_003 + trainer.step * trainer.processes + trainer.rank
    rng = torch.Generator(device).manual_seed(seed)
    source = stream(TRAINED, recipe.batch, seed, workers, device)
    log = folder / "log.csv"
    if first and not log.is_file():
        log.write_text("step,seconds,occupancy,depth,lean,gradient,skipped\n")
    losses: list[list[float]] = []
    begun, saved = trainer.step, time.monotonic()
    while trainer.progress < 1:
        parts, paints, counts = next(source)
        batch = make_batch(parts, paints, counts, recipe.columns, rng)
        for example in (batch, mirrored(batch)) if recipe.mirrored else (batch,):
            spent = time.monotonic() - started
            done = (trainer.step + 1 - begun) / recipe.steps if recipe.steps else 0.0
            parted, norm = trainer.train(example, max(done, spent / max(seconds, 1e-9)))
            losses.append(parted)
            over = trainer.progress >= 1
            if first and (trainer.step % 100 == 0 or over):
                means = ",".join(f"{sum(v) / len(v):.5f}" for v in zip(*losses, strict=True))
                line = f"{trainer.step},{spent:.1f},{means},{norm:.3f},{trainer.skipped}"
                print(line, flush=True)
                with log.open("a") as file:
                    file.write(line + "\n")
                losses.clear()
            if first and time.monotonic() - saved > SAVED_S:
                trainer.save(folder)
                saved = time.monotonic()
            if over:
                break
    if not first:
        return
    trainer.save(folder)
    if device.type == "cuda":
        text = report(evaluate(trainer.averaged, device), evaluate_leans(trainer.averaged, device))
        (folder / f"quality_{trainer.step}.txt").write_text(text + "\n")
        print(text, flush=True)


def work(rank: int, processes: int, recipe: Recipe, folder: Path, seconds: float, workers: int, meeting: str) -> None:
    """One process of a slice, on the GPU of its number, or on the CPU where there is none. ``meeting``: an address at
    which the processes find each other, as `torch.distributed.init_process_group` takes it."""
    started = time.monotonic()
    torch.set_float32_matmul_precision("high")
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)
    if processes > 1:
        # Multicast over NVLink, where a host shares its GPUs, can disturb the other users; sums this small need none.
        os.environ.setdefault("NCCL_NVLS_ENABLE", "0")
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=processes)
    run_slice(Trainer(recipe, device), folder, seconds, workers, started)
    if processes > 1:
        dist.barrier()  # the others wait while the first saves and evaluates
        dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--minutes", type=float, default=8.0, help="length of this slice")
    parser.add_argument("--batch", type=int, default=Recipe.batch, help="sculptures in a step of one process")
    parser.add_argument("--rate", type=float, default=Recipe.rate, help="largest learning rate, for one process")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--gpus", type=int, default=max(1, torch.cuda.device_count()), help="processes, one a GPU")
    parser.add_argument("--workers", type=int, help="processes that make sculptures, for each GPU")
    arguments = parser.parse_args()
    count = arguments.gpus
    workers = arguments.workers
    if workers is None:
        workers = max(0, (os.cpu_count() or 1) // count - 2)
    recipe = Recipe(batch=arguments.batch, rate=arguments.rate, seed=arguments.seed)
    train_on(count, recipe, arguments.run, 60 * arguments.minutes, workers)


def train_on(processes: int, recipe: Recipe, folder: Path, seconds: float, workers: int) -> None:
    """A slice in ``processes`` processes of this machine."""
    if processes == 1:
        work(0, 1, recipe, folder, seconds, workers, "")
        return
    with tempfile.TemporaryDirectory() as temporary:
        meeting = (Path(temporary) / "meeting").as_uri()
        torch.multiprocessing.spawn(  # type: ignore[no-untyped-call]
            work, (processes, recipe, folder, seconds, workers, meeting), processes
        )


if __name__ == "__main__":
    main()
