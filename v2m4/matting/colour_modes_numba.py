"""The compiled loop of the labelling of a clip's colours: messages of belief propagation along rows."""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float32
from v2m4.compiled import njit


@njit("(f4[:,:,::1],f4[:,:,:,::1])")
def pass_messages(own: Float32, pair: Float32) -> Float32:
    """Min-sum messages (N,L,4) that run along each of N rows; a message's least entry is 0.

    own: (N,L,4) costs of each pixel's labels with what it hears from elsewhere. pair: (N,L-1,4,4).
    """
    rows, length, labels = own.shape
    heard = np.zeros_like(own)
    for y in range(rows):
        for x in range(length - 1):
            low = 1e9
            for j in range(labels):
                best = 1e9
                for i in range(labels):
                    best = min(best, own[y, x, i] + heard[y, x, i] + pair[y, x, i, j])
                heard[y, x + 1, j] = best
                low = min(low, best)
            for j in range(labels):
                heard[y, x + 1, j] -= low
    return heard
