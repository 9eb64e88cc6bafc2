"""Which of the colours that a pixel shows over time is the background's: one labelling of the whole clip.

Over time a pixel shows a few recurring colours, its modes. At most one is the background; in all frames that show
another colour the pixel is covered. So choosing a mode for every pixel (or "never seen") fixes the object's mask in
every frame at once, and the best choice is the one whose masks have short contours, along picture edges, summed over
the frames. An object that sways in one place, and covers most of its pixels most of the time, is found this way, where
a temporal median takes it for the background. Solved by min-sum belief propagation (sweeps as in Tappen and Freeman
2003); background estimation as a labelling problem goes back to Cohen (2005).
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

MODES = 3
NEVER = MODES
_LABELS = MODES + 1

Field = NDArray[np.float32]


@numba.njit(cache=True)
def find_modes(
    frames: NDArray[np.uint8], tolerance: float
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.float32]]:
    """The modes of each pixel of (T,H,W,3) ``frames``: colours within ``tolerance`` levels of each other.

    Returns (T,H,W) uint8, which mode (0 to 2, most frequent first) a pixel shows in a frame, 3 for none of them;
    (H,W,3) int32, how many frames show each; and (H,W,3,3) float32, each one's mean colour.
    """
    count, height, width, _ = frames.shape
    shown = np.full((count, height, width), MODES, np.uint8)
    sizes = np.zeros((height, width, MODES), np.int32)
    colours = np.zeros((height, width, MODES, 3), np.float32)
    most = 8
    limit = np.float32(tolerance * tolerance)
    for y in range(height):
        for x in range(width):
            centre = np.zeros((most, 3), np.float32)
            size = np.zeros(most, np.int32)
            member = np.full(count, most, np.int32)
            used = 0
            for t in range(count):
                best, nearest = -1, limit
                for k in range(used):
                    d = np.float32(0)
                    for c in range(3):
                        e = np.float32(frames[t, y, x, c]) - centre[k, c]
                        d += e * e
                    if d < nearest:
                        best, nearest = k, d
                if best < 0:
                    # The least seen of them makes room, so that what recurs is found however many came before it.
                    if used < most:
                        best = used
                        used += 1
                    else:
                        best = 0
                        for k in range(1, most):
                            if size[k] < size[best]:
                                best = k
                        for u in range(t):
                            if member[u] == best:
                                member[u] = most
                        size[best] = 0
                size[best] += 1
                for c in range(3):
                    centre[best, c] += (np.float32(frames[t, y, x, c]) - centre[best, c]) / size[best]
                member[t] = best
            for rank in range(MODES):
                k = 0
                for other in range(1, used):
                    if size[other] > size[k]:
                        k = other
                if size[k] == 0:
                    break
                sizes[y, x, rank] = size[k]
                size[k] = 0
                for c in range(3):
                    colours[y, x, rank, c] = centre[k, c]
                for t in range(count):
                    if member[t] == k:
                        shown[t, y, x] = rank
    return shown, sizes, colours


@numba.njit(cache=True, fastmath=True)
def _contour_costs(frames: NDArray[np.uint8], shown: NDArray[np.uint8], contrast: float, dy: int, dx: int) -> Field:
    """(H,W,4,4) mean over frames of the contour between a pixel and its neighbour, for each pair of labels."""
    count, height, width = shown.shape
    costs = np.zeros((height, width, _LABELS, _LABELS), np.float32)
    for y in range(height - dy):
        for x in range(width - dx):
            for t in range(count):
                step = np.float32(0)
                for c in range(3):
                    step = max(step, abs(np.float32(frames[t, y, x, c]) - np.float32(frames[t, y + dy, x + dx, c])))
                price = (np.float32(0.3) + np.float32(0.7) * np.exp(-((step / contrast) ** 2))) / count
                a, b = shown[t, y, x], shown[t, y + dy, x + dx]
                for i in range(_LABELS):
                    seen = i == a and i < MODES
                    for j in range(_LABELS):
                        if seen != (j == b and j < MODES):
                            costs[y, x, i, j] += price
    return costs


@numba.njit(cache=True, fastmath=True)
def _send(base: Field, pair: Field, forward: bool, out: Field) -> None:
    """Min-sum message over an edge; normalised so that its least entry is 0."""
    low = np.float32(1e9)
    for j in range(_LABELS):
        best = np.float32(1e9)
        for i in range(_LABELS):
            value = base[i] + (pair[i, j] if forward else pair[j, i])
            best = min(best, value)
        out[j] = best
        low = min(low, best)
    for j in range(_LABELS):
        out[j] -= low


@numba.njit(cache=True, fastmath=True)
def _propagate(unary: Field, right: Field, down: Field, rounds: int) -> NDArray[np.uint8]:
    height, width, _ = unary.shape
    # Messages that arrive from the left, right, top and bottom neighbour.
    m = np.zeros((4, height, width, _LABELS), np.float32)
    base = np.zeros(_LABELS, np.float32)
    for _ in range(rounds):
        for y in range(height):
            for x in range(width - 1):
                for i in range(_LABELS):
                    base[i] = unary[y, x, i] + m[0, y, x, i] + m[2, y, x, i] + m[3, y, x, i]
                _send(base, right[y, x], True, m[0, y, x + 1])
            for x in range(width - 1, 0, -1):
                for i in range(_LABELS):
                    base[i] = unary[y, x, i] + m[1, y, x, i] + m[2, y, x, i] + m[3, y, x, i]
                _send(base, right[y, x - 1], False, m[1, y, x - 1])
        for x in range(width):
            for y in range(height - 1):
                for i in range(_LABELS):
                    base[i] = unary[y, x, i] + m[0, y, x, i] + m[1, y, x, i] + m[2, y, x, i]
                _send(base, down[y, x], True, m[2, y + 1, x])
            for y in range(height - 1, 0, -1):
                for i in range(_LABELS):
                    base[i] = unary[y, x, i] + m[0, y, x, i] + m[1, y, x, i] + m[3, y, x, i]
                _send(base, down[y - 1, x], False, m[3, y - 1, x])
    labels = np.zeros((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            best, low = 0, np.float32(1e9)
            for i in range(_LABELS):
                value = unary[y, x, i]
                for k in range(4):
                    value += m[k, y, x, i]
                if value < low:
                    best, low = i, value
            labels[y, x] = best
    return labels


class ModeLabelling:
    """The pairwise costs of a clip, computed once, to be solved for several unary costs."""

    def __init__(self, frames: NDArray[np.uint8], shown: NDArray[np.uint8], contrast: float) -> None:
        self._right = _contour_costs(frames, shown, contrast, 0, 1)
        self._down = _contour_costs(frames, shown, contrast, 1, 0)

    def solve(self, unary: Field, rounds: int = 8) -> NDArray[np.uint8]:
        """(H,W) labels: the background's mode (0 to 2), or 3 where the background is never seen.

        unary: (H,W,4) cost of each label, in units of one pixel of contour in every frame.
        """
        return _propagate(np.ascontiguousarray(unary, np.float32), self._right, self._down, rounds)
