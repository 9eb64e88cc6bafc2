"""Where the frames show the object, and when it was away: what lies before that does not tell its pose any more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from v2m4.arrays import Float64, Mask
from v2m4.clip import Clip


@dataclass(frozen=True)
class Sighting:
    """The object's box (left, top, right, bottom) in pixels, zeros where it is not seen, and which of these sides lie
    inside the picture."""

    box: Float64
    inside: Mask

    @property
    def seen(self) -> bool:
        """Whether the frame shows the object."""
        return bool(self.box.any())

    @property
    def cut_off(self) -> bool:
        """Whether the picture's border cuts the object off."""
        return self.seen and not self.inside.all()


class Sightings:
    """The sightings of a clip, in views of ``size`` pixels a side; ``mask_of`` gives a frame's (size,size) mask.

    rim_px: a box that ends so near the picture's border may go on outside."""

    def __init__(self, clip: Clip, anchor: int, size: int, mask_of: Callable[[int], Mask], rim_px: float) -> None:
        self.anchor = anchor
        self._mask_of, self._rim_px = mask_of, rim_px
        self._rim = np.array(clip.content_box()) * size / clip.side
        self._known: dict[int, Sighting] = {}

    def of(self, index: int) -> Sighting:
        """Where a frame shows the object."""
        if index not in self._known:
            mask = self._mask_of(index)
            box = box_of(mask) if mask.any() else np.zeros(4)
            self._known[index] = Sighting(box, np.abs(box - self._rim) > self._rim_px)
        return self._known[index]

    def comes_back(self, index: int, direction: int) -> bool:
        """Whether the object was away and is on its way back, up to the first frame in which it is seen whole.

        What of it the picture's border cuts off does not tell its pose.
        """
        while index != self.anchor:
            returned, index = index, index - direction
            if not self.of(index).cut_off:
                return not self.of(index).seen and self._was_away(index, returned, direction)
        return False

    def _was_away(self, empty: int, returned: int, direction: int) -> bool:
        """Whether the object left the picture, or jumped, while it was not seen; else only its mask was lost."""
        while not self.of(empty).seen:
            if empty == self.anchor:
                return True
            empty -= direction
        left, came = self.of(empty), self.of(returned)
        apart = np.maximum(left.box[:2], came.box[:2]) >= np.minimum(left.box[2:], came.box[2:])
        return left.cut_off or came.cut_off or bool(apart.any())


def box_of(mask: Mask) -> Float64:
    """(left, top, right, bottom) of what is true in a mask that is not empty, in pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
