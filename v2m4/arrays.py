"""What NumPy arrays hold, in one word each; their shapes stand where they are used."""

from __future__ import annotations

from typing import Any, TypeAlias

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
