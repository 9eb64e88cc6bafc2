"""Which of the colours that a pixel shows over time is the background's: one labelling of the whole clip.

Over time a pixel shows a few recurring colours, its modes. At most one is the background; in all frames that show
another colour the pixel is covered. So choosing a mode for every pixel (or "never seen") fixes the object's mask in
every frame at once, and the best choice is the one whose masks have short contours, along picture edges, summed over
the frames. An object that sways in one place, and covers most of its pixels most of the time, is found this way, where
a temporal median takes it for the background. Solved by min-sum belief propagation (sweeps as in Tappen and Freeman
2003); background estimation as a labelling problem goes back to Cohen (2005).
"""

from __future__ import annotations

import itertools

import numpy as np

from v2m4.arrays import Bytes, Float32, Int32, Mask
from v2m4.matting.colour_modes_numba import pass_messages

MODES = 3
ALWAYS_COVERED = MODES
_LABELS = MODES + 1


def find_modes(
    frames: Bytes, tolerance: float, candidates: int, seen: Mask | None = None
) -> tuple[Bytes, Int32, Float32]:
    """The modes of each pixel of (T,H,W,3) ``frames``: colours within ``tolerance`` levels of each other.

    candidates: colours of a pixel that are kept in mind at once. seen: (T,H,W), which pixels a frame shows at all; by
    default all.

    Returns (T,H,W) uint8, which mode (0 to 2, most frequent first) a pixel shows in a frame, 3 for none of them;
    (H,W,3) int32, how many frames show each; and (H,W,3,3) float32, each one's mean colour.
    """
    count, height, width, _ = frames.shape
    everywhere = np.arange(height * width)
    # P = H W pixels, K candidates each, of which the modes are chosen at the end.
    colours = frames.reshape(count, -1, 3).transpose(0, 2, 1).astype(np.float32)  # (T,3,P)
    centres = np.full((candidates, 3, len(everywhere)), 1e4, np.float32)  # (K,3,P) running mean colours
    sizes = np.zeros((candidates, len(everywhere)), np.int32)  # (K,P) frames in each
    member = np.full((count, len(everywhere)), candidates, np.uint8)  # (T,P) candidate of each pixel, K for none
    used = 1
    for t in range(count):
        # 1. The nearest candidate takes the colour if it is within the tolerance.
        apart = np.square(centres[:used] - colours[t]).sum(1)
        pixels = everywhere if seen is None else np.flatnonzero(seen[t])
        best = apart.argmin(0)[pixels]
        new = apart[best, pixels] >= tolerance**2
        if new.any():
            # 2. Otherwise a new one starts. The least seen of them makes room, so that what recurs is found however
            # many came before it.
            where = pixels[new]
            evicted = sizes[:, where].argmin(0)
            earlier = member[:t, where]
            earlier[earlier == evicted] = candidates
            member[:t, where] = earlier
            best[new] = evicted
            sizes[evicted, where] = 0
            used = max(used, int(evicted.max()) + 1)
        # 3. The candidate's mean moves towards the colour.
        sizes[best, pixels] += 1
        member[t, pixels] = best
        for c in range(3):
            centre = centres[best, c, pixels]
            centre += (colours[t, c, pixels] - centre) / np.where(new, 1, sizes[best, pixels])
            centres[best, c, pixels] = np.where(new, colours[t, c, pixels], centre)
    # 4. The most frequent candidates are the modes.
    order = np.argsort(-sizes, axis=0, kind="stable")[:MODES]  # (3,P)
    rank = np.full((candidates + 1, len(everywhere)), MODES, np.uint8)
    np.put_along_axis(rank, order, np.arange(MODES, dtype=np.uint8)[:, None], axis=0)
    shown = np.take_along_axis(rank, member.astype(np.intp), axis=0)
    kept = np.take_along_axis(sizes, order, axis=0)
    means = np.take_along_axis(centres, order[:, None], axis=0) * (kept > 0)[:, None]
    return (
        shown.reshape(count, height, width),
        np.ascontiguousarray(kept.T.reshape(height, width, MODES)),
        np.ascontiguousarray(means.transpose(2, 0, 1).reshape(height, width, MODES, 3), np.float32),
    )


def _contour_costs(frames: Bytes, shown: Bytes, seen: Mask | None, contrast: float, edge_price: float) -> Float32:
    """(H,W-1,4,4) mean over frames of the contour between a pixel and its right neighbour, for each pair of labels."""
    count, height, width = shown.shape
    costs = np.zeros((_LABELS, _LABELS, height, width - 1), np.float32)
    both = None if seen is None else seen[:, :, :-1] & seen[:, :, 1:]
    share = np.float32(1 / count) if both is None else (1 / np.maximum(both.sum(0), 1)).astype(np.float32)
    for t, (picture, modes) in enumerate(zip(frames, shown, strict=True)):
        step = np.abs(np.diff(picture.astype(np.float32), axis=1)).max(-1)
        price = (edge_price + (1 - edge_price) * np.exp(-np.square(step / np.float32(contrast)))) * share
        if both is not None:
            price *= both[t]
        here = [modes[:, :-1] == label for label in range(MODES)]
        there = [modes[:, 1:] == label for label in range(MODES)]
        for i, j in itertools.product(range(MODES), repeat=2):
            costs[i, j] += price * (here[i] != there[j])
        for i in range(MODES):
            costs[i, ALWAYS_COVERED] += price * here[i]
            costs[ALWAYS_COVERED, i] += price * there[i]
    return np.ascontiguousarray(costs.transpose(2, 3, 0, 1))


class ModeLabelling:
    """The pairwise costs of a clip, computed once, to be solved for several unary costs."""

    def __init__(
        self, frames: Bytes, shown: Bytes, contrast: float, edge_price: float, seen: Mask | None = None
    ) -> None:
        right = _contour_costs(frames, shown, seen, contrast, edge_price)
        turned = None if seen is None else seen.transpose(0, 2, 1)
        down = _contour_costs(frames.transpose(0, 2, 1, 3), shown.transpose(0, 2, 1), turned, contrast, edge_price)
        self._along = [(pair, np.ascontiguousarray(pair[:, ::-1].transpose(0, 1, 3, 2))) for pair in (right, down)]

    def solve(self, unary: Float32, rounds: int) -> Bytes:
        """(H,W) labels: the background's mode (0 to 2), or 3 where the background is never seen.

        unary: (H,W,4) cost of each label, in units of one pixel of contour in every frame.
        """
        unary = unary.astype(np.float32)
        across, down = np.zeros_like(unary), np.zeros_like(unary)
        for _ in range(rounds):
            across = self._exchange(unary + down, 0)
            down = self._exchange((unary + across).transpose(1, 0, 2), 1).transpose(1, 0, 2)
        return (unary + across + down).argmin(-1).astype(np.uint8)

    def _exchange(self, own: Float32, axis: int) -> Float32:
        """What each pixel of (N,L,4) ``own`` hears from both sides of its row."""
        forth, back = self._along[axis]
        heard = pass_messages(np.ascontiguousarray(own), forth)
        return np.asarray(heard + pass_messages(np.ascontiguousarray(own[:, ::-1]), back)[:, ::-1], np.float32)
