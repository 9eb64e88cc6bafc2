"""What NumPy arrays hold, in one word each (their shapes stand where they are used), and sums of their last axis."""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
Real: TypeAlias = NDArray[np.floating[Any]]
"""Of either precision."""
Int32: TypeAlias = NDArray[np.int32]
Int64: TypeAlias = NDArray[np.int64]
Bytes: TypeAlias = NDArray[np.uint8]
"""A picture's channels, 0 to 255."""
Mask: TypeAlias = NDArray[np.bool_]

Number = TypeVar("Number", bound=np.floating[Any])


def sum_last(x: NDArray[Number]) -> NDArray[Number]:
    """``x.sum(-1)`` of a last axis of two or three: the same to the bit, many times as fast."""
    total = x[..., 0]
    for i in range(1, x.shape[-1]):
        total = np.add(total, x[..., i])
    return total


def max_last(x: NDArray[Number]) -> NDArray[Number]:
    """``x.max(-1)`` of a last axis of two or three, many times as fast."""
    largest = x[..., 0]
    for i in range(1, x.shape[-1]):
        largest = np.maximum(largest, x[..., i])
    return largest


def norm_last(x: NDArray[Number]) -> NDArray[Number]:
    """``np.linalg.norm(x, axis=-1)`` of a last axis of two or three: the same to the bit, many times as fast."""
    length: NDArray[Number] = np.sqrt(sum_last(x * x))
    return length
