"""All ports and the plugs that can fill them."""

from __future__ import annotations

from collections.abc import Mapping

from v2m4.evaluation.judges import JUDGES
from v2m4.generators import GENERATORS
from v2m4.matting import MATTINGS
from v2m4.perceptual import PERCEPTUALS
from v2m4.registry import Plug
from v2m4.stereo import STEREOS
from v2m4.tracks import TRACKERS

PORTS: Mapping[str, Mapping[str, Plug[object]]] = {
    "generator": GENERATORS,
    "stereo": STEREOS,
    "perceptual": PERCEPTUALS,
    "matting": MATTINGS,
    "tracks": TRACKERS,
    "measure": JUDGES,
}
