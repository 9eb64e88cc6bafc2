"""The plugs `cotracker3` and `cotracker3-online`: frames and points in, tracks out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.nn.precision import Precision, choose_precision, computing
from v2m4.nn.weights import fetch, load_strictly, memory_guard, read_state_dict
from v2m4.settings import Settings
from v2m4.tracks import Tracks
from v2m4.tracks.cotracker3.config import ONLINE, REPOSITORY, REVISION, CoTrackerConfig
from v2m4.tracks.cotracker3.model import CoTracker3, Tracked
from v2m4.tracks.cotracker3.online import track_in_windows

ITERATIONS = 6
SUPPORT_GRID = 6
VISIBLE = 0.9
ONLINE_VISIBLE = 0.6
CHUNK = 32
_MARGIN = 1 / 64  # of the width, left free around the support points


def support_points(side: int, height: int, width: int) -> Tensor:
    """(side^2, 2) columns and rows of a regular grid over a picture, row by row."""
    margin = width * _MARGIN
    rows, columns = torch.meshgrid(
        torch.linspace(margin, height - margin, side), torch.linspace(margin, width - margin, side), indexing="ij"
    )
    return torch.stack([columns, rows], dim=-1).flatten(0, 1)


class CoTracker:
    """CoTracker3's offline network. Clips longer than a chunk are tracked chunk by chunk, each from where the last one
    ended. Created from the official checkpoint, or around a `model` of one's own."""

    name = "cotracker3"
    file = "scaled_offline.pth"
    released = CoTrackerConfig()
    threshold = VISIBLE

    def __init__(
        self,
        device: torch.device | str = "cpu",
        model: CoTracker3 | None = None,
        precision: Precision = "float32",
        repository: str | None = None,
        iterations: int = ITERATIONS,
        support_grid: int = SUPPORT_GRID,
        visible_above: float | None = None,
    ) -> None:
        """`repository`: Hub repository or folder of the checkpoint. `support_grid`: points per side of a grid that is
        tracked beside the queries. `visible_above`: probability from which a point counts as seen; as released if
        absent. Positions are wanted to a fraction of a pixel, so half precision is used only where asked for."""
        self.device = torch.device(device)
        self.precision = choose_precision(precision, self.device)
        self.iterations = iterations
        self.support_grid = support_grid
        self.visible_above = self.threshold if visible_above is None else visible_above
        with memory_guard(self.name):
            network = self._load(repository or REPOSITORY) if model is None else model
            self.model = network.eval().requires_grad_(False).to(self.device)

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> CoTracker:
        """The plug for a run's settings."""
        return cls(device)

    def __call__(self, frames: Tensor, queries: Tensor) -> Tracks:
        """Tracks of `queries` (N, 3) through `frames` (T, H, W, 3) in [0, 1].

        Raises V2M4Error for queries outside the clip or too little memory.
        """
        if len(queries) and not bool(((queries[:, 0] >= 0) & (queries[:, 0] < len(frames))).all()):
            raise V2M4Error(f"{self.name}: points are asked for in frames that the clip of {len(frames)} lacks.")
        if len(frames) <= CHUNK + 1 or bool((queries[:, 0] > 0).any()):
            return self.track(frames, queries)
        # Later chunks repeat one frame, in which the points are where the chunk before left them.
        parts = [self.track(frames[: CHUNK + 1], queries)]
        for start in range(CHUNK, len(frames) - 1, CHUNK):
            again = torch.cat([torch.zeros(len(queries), 1), parts[-1].positions[-1].cpu()], dim=1)
            part = self.track(frames[start : start + CHUNK + 1], again)
            parts.append(Tracks(part.positions[1:], part.visible[1:]))
        return Tracks(torch.cat([p.positions for p in parts]), torch.cat([p.visible for p in parts]))

    @torch.no_grad()
    def track(self, frames: Tensor, queries: Tensor) -> Tracks:
        """The same in one go, however long the clip is."""
        config, (height, width) = self.model.config, frames.shape[1:3]
        rows, columns = config.model_resolution
        with memory_guard(self.name), computing(self.precision, self.device):
            pictures = 255 * frames.to(self.device).permute(0, 3, 1, 2).float()
            pictures = F.interpolate(pictures, (rows, columns), mode="bilinear", align_corners=True)
            scale = torch.tensor([(columns - 1) / (width - 1), (rows - 1) / (height - 1)], device=self.device)
            asked = queries.to(self.device).float()
            # Points spread over the first frame tell the tracks how the whole picture moves.
            support = support_points(self.support_grid, rows, columns).to(self.device)
            support = torch.cat([torch.zeros_like(support[:, :1]), support], dim=1)
            scaled = torch.cat([asked[:, :1], asked[:, 1:] * scale], dim=1)
            found = self.run(pictures, torch.cat([scaled, support]))
        positions, visible = found.positions[:, : len(asked)] / scale, self.visible(found)[:, : len(asked)]
        each, at = torch.arange(len(asked), device=self.device), asked[:, 0].long()
        positions[at, each] = asked[:, 1:]
        visible[at, each] = True
        return Tracks(positions, visible)

    def run(self, pictures: Tensor, queries: Tensor) -> Tracked:
        """The network on pictures (T, 3, H, W) of its own size."""
        found: Tracked = self.model(pictures, queries, self.iterations)
        return found

    def visible(self, found: Tracked) -> Tensor:
        """(T, N) whether a point counts as seen."""
        return found.visibility > self.visible_above

    def _load(self, source: str) -> CoTracker3:
        path = fetch(source, self.file, REVISION, self.name)
        with torch.device("meta"):
            model = CoTracker3(self.released)
        load_strictly(model.to_empty(device="cpu"), read_state_dict(path, self.name), self.name)
        return model


class CoTrackerOnline(CoTracker):
    """CoTracker3's online network: windows of 16 frames that slide by 8, queries in any frame."""

    name = "cotracker3-online"
    file = "scaled_online.pth"
    released = ONLINE
    threshold = ONLINE_VISIBLE

    def __call__(self, frames: Tensor, queries: Tensor) -> Tracks:
        """Tracks of `queries` (N, 3) through `frames` (T, H, W, 3) in [0, 1]; a point is looked for from its own
        frame's window on."""
        return self.track(frames, queries)

    def run(self, pictures: Tensor, queries: Tensor) -> Tracked:
        """Window by window."""
        return track_in_windows(self.model, pictures, queries, self.iterations)

    def visible(self, found: Tracked) -> Tensor:
        """(T, N) whether a point counts as seen, by visibility and confidence together."""
        return found.visibility * found.confidence > self.visible_above
