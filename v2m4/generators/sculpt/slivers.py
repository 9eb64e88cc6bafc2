"""Slivers of a far part beside a near one: where hardly anything of a part shows, its depth stretches the surface.

A sheet joins what lies side by side in the picture: a strip of a far leg and the near one by faces that run along the
line of sight, a bar from foot to foot, which tears when the legs part. So pieces of the visible surface that steps cut
off take the depths beside them if they are small.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from v2m4.arrays import Int64, Mask, Real
from v2m4.settings import SliverSettings


def without_slivers(entry: Real, inside: Mask, settings: SliverSettings) -> Mask:
    """The cells ``inside`` (n,n) whose visible depths ``entry`` (n,n), in widths of the square, count: all but those of
    small pieces; single specks are left to the median that follows. Pieces are cells that hang together where the
    surface is not too steep."""
    first, second = _beside(inside)
    even = np.abs(entry.ravel()[first] - entry.ravel()[second]) * len(entry) < settings.steep
    links = coo_array((np.ones(int(even.sum())), (first[even], second[even])), shape=(inside.size, inside.size))
    piece = connected_components(links, directed=False)[1].reshape(inside.shape)
    cells = np.bincount(piece[inside], minlength=inside.size)
    # What lies side by side of all the small pieces is one sliver, or only specks.
    group = label(inside & (cells[piece] < settings.least * float(inside.sum())))[0]
    sizes = np.bincount(group.ravel())
    sure = inside & ~((group > 0) & (sizes[group] >= settings.specks))
    return sure if sure.any() else inside


def _beside(inside: Mask) -> tuple[Int64, Int64]:
    """Pairs of neighbouring cells that are both ``inside`` (n,n): two arrays of flat indices."""
    index = np.arange(inside.size).reshape(inside.shape)
    pairs = []
    for one, other in ((index[:, :-1], index[:, 1:]), (index[:-1], index[1:])):
        both = inside.ravel()[one] & inside.ravel()[other]
        pairs.append(np.stack([one[both], other[both]]))
    first, second = np.concatenate(pairs, axis=1)
    return first, second
