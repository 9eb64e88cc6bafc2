"""How a posed mesh looks from the video's camera, and how well it covers the object."""

from __future__ import annotations

import numpy as np
from PIL import Image

from v2m4.arrays import Bytes, Mask
from v2m4.clip import Clip
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.masks import mask_iou
from v2m4.render.pictures import render_rgba


def pose_picture(mesh: Mesh, clip: Clip, index: int, size: int) -> tuple[Bytes, float]:
    """(S,S,4) picture of a mesh in camera space, and the overlap (IoU) of its outline with frame ``index``'s mask.

    size: S at most; no more than the clip's side.
    """
    picture = render_rgba(mesh, Camera.identity(), min(clip.side, size))
    return picture, mask_iou(picture[..., 3] > 127, _mask(clip, index, len(picture)))


def _mask(clip: Clip, index: int, size: int) -> Mask:
    """(size,size) the object's mask in a frame."""
    with Image.fromarray(clip.frame(index)[..., 3]) as alpha:
        return np.asarray(alpha.resize((size, size), Image.Resampling.BOX)) > 127
