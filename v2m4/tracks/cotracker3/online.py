"""CoTracker3 through windows that slide by half their length: bounded memory for clips of any length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from v2m4.tracks.cotracker3.model import CoTracker3, Tracked, TrackState


@dataclass
class SlidingTracks:
    """Tracks of queries (N, 3) through a clip that arrives in pieces.

    Every window starts from what the previous one found where they overlap, and from its last frame beyond; queries of
    later frames start from their own places once they come into view.
    """

    model: CoTracker3
    queries: Tensor
    iterations: int
    start: int = 0
    """First frame of the next window."""
    found: TrackState | None = None
    """What is known so far, (frames, N, ...)."""
    support: list[Tensor] | None = None

    @property
    def window(self) -> int:
        """Frames of a window."""
        return self.model.config.window_len

    @property
    def step(self) -> int:
        """By how many frames it moves on."""
        return self.window // 2

    def feed(self, frames: Tensor) -> Tracked:
        """Take in the window (T, 3, H, W) that begins at frame `start`; returns the tracks of all frames so far.

        A last window may be shorter than the others; it is filled up with its last frame.
        """
        pyramid = self.model.pyramid(_filled(frames, self.window))
        local = self.queries - self.queries.new_tensor([self.start, 0, 0])
        sampled = self.model.support(pyramid, local)
        # Each query's own patch is taken from the first window that shows its frame.
        first = 0 if self.start == 0 else self.start + self.window - self.step
        asked = self.queries[:, 0].long()
        fresh = ((asked >= first) & (asked < self.start + self.window))[:, None, None]
        known = [torch.zeros_like(s) for s in sampled] if self.support is None else self.support
        self.support = [old + new * fresh for old, new in zip(known, sampled, strict=True)]
        self._solve(pyramid, self.support, len(frames))
        assert self.found is not None
        return self.model.finished(self.found)

    def _solve(self, pyramid: list[Tensor], support: list[Tensor], frames: int) -> None:
        asked = self.queries[:, 0].long()
        begun = self.model.start(self.queries, self.window)
        if self.found is not None and self.start > 0:
            before = TrackState(*(_filled(t[self.start :], self.window) for t in self.found))
            old = asked < self.start + self.window - self.step
            begun = TrackState(
                torch.where(old[:, None], before.coords, begun.coords),
                torch.where(old, before.visibility, begun.visibility),
                torch.where(old, before.confidence, begun.confidence),
            )
        visible = (asked < self.start + self.window)[:, None, None]
        state = self.model.refine(pyramid, [s * visible for s in support], begun, self.iterations)
        trimmed = [t[:frames] for t in state]
        if self.found is not None:
            trimmed = [torch.cat([t[: self.start], new]) for t, new in zip(self.found, trimmed, strict=True)]
        self.found = TrackState(*trimmed)
        self.start += self.step


def _filled(values: Tensor, length: int) -> Tensor:
    """The first `length` entries, the last one repeated where there are fewer."""
    missing = length - len(values)
    return values[:length] if missing <= 0 else torch.cat([values, values[-1:].expand(missing, *values.shape[1:])])


def track_in_windows(model: CoTracker3, frames: Tensor, queries: Tensor, iterations: int) -> Tracked:
    """Tracks of queries (N, 3) through a whole clip (T, 3, H, W) in [0, 255], window by window."""
    tracks = SlidingTracks(model, queries, iterations)
    while True:
        found = tracks.feed(frames[tracks.start : tracks.start + tracks.window])
        if tracks.start + tracks.window - tracks.step >= len(frames):
            return found
