"""Inpainting: what the parts look like that no view shows (section 4.4 leaves them to an image inpainter).

They keep the look that the mesh brought, shifted to meet the seen parts' colours. Where it brought none, they are taken
from their mirror images (`mirror`), and what is left is continued along the surface.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csc_array, diags_array
from scipy.sparse.linalg import splu

from v2m4.arrays import Mask, Real
from v2m4.geometry.mesh import Mesh
from v2m4.render.atlas import Texels, dominant_colors
from v2m4.settings import FillSettings
from v2m4.stages.texture.look import Look, own_look
from v2m4.stages.texture.mirror import mirror_look
from v2m4.stages.texture.samples import Samples

_FAINT = 1e-5  # pull to the mean, for pieces of the surface of which nothing is seen


def inpaint(look: Look, mesh: Mesh, samples: Samples, texels: Texels, settings: FillSettings) -> Real:
    """(N,3) colours in [0,1] of all texels: the look's as far as they are surely seen, else what they may look like.

    mesh: posed as the look was seen, with the texture or vertex colours that it brought, if any.
    """
    bare = mesh.texture is None and mesh.colors is None
    if bare and settings.mirror:
        look = mirror_look(look, mesh, samples, settings.mirroring)
    base_samples, base_texels = own_look(mesh, samples, texels)  # (P,3), (N,3)
    palette = settings.palette if bare else 0
    more, told = look.sample_colors - base_samples, look.samples_seen
    if not bare:
        told = told * _usual(more, told > settings.held_from, settings.unlike)
    known = bare or bool((told > settings.held_from).any())
    shift = diffuse_colors(more, told, samples, settings, palette=palette) if known else np.zeros_like(base_samples)
    unseen = samples.at_texels(shift) + base_texels  # (P,3) -> (N,3)
    seen = look.texels_seen[:, None]
    return np.clip(seen * look.texel_colors + (1 - seen) * unseen, 0, 1)


def _usual(shift: Real, known: Mask, scale: float) -> Real:
    """(P,) in [0,1] how near each shift (P,3) of the own look is to the usual one, their median where known (P,).

    What a frame shows and the own look lacks (an eye at the rim, a strip of another limb or of the background) is no
    shift of tone to be continued over the far side: Geman and McClure's weights leave it out.
    """
    if not known.any():
        return np.ones(len(known))
    off: Real = np.square(shift - np.median(shift[known], axis=0)).sum(1)
    return 1 / (1 + off / scale**2) ** 2


def diffuse_colors(values: Real, seen: Real, samples: Samples, settings: FillSettings, *, palette: int) -> Real:
    """(P,C) that equal ``values`` where seen (P,) is 1 and continue them along the surface elsewhere, harmonically.

    palette 0: the minimiser of seen * |x - values|^2 + the differences between neighbouring samples, smooth
    everywhere. Else the prevailing one of so many colours is continued, which keeps them clean instead of mixing
    them to mud: their shares are diffused and sharpened. Pieces of the surface that nothing sees take the mean, or the
    most frequent colour.
    """
    # 1. The normal equations: each sample is drawn to its neighbours' mean, and held where it is seen.
    weight = np.where(seen > settings.held_from, settings.hold * seen, 0)  # (P,)
    if not weight.any():
        return np.full_like(values, 0.5)
    identity = diags_array(np.ones(len(weight)))
    solver = splu(csc_array(identity - samples.adjacency + diags_array(weight + _FAINT)))  # (P,P)

    def diffused(layer: Real) -> Real:
        """(P,L) a layer continued from where it is held."""
        return solver.solve(layer * weight[:, None] + _FAINT * (layer * weight[:, None]).sum(0) / weight.sum())

    if palette == 0:
        return diffused(values)
    # 2. A layer per colour of the palette: the values that have it, and its share, which decides between colours.
    label, count = dominant_colors(values[weight > 0], palette)
    total = np.zeros((len(values), values.shape[1] + 1))  # (P,C+1)
    for k in range(count):
        member = np.zeros(len(values))
        member[weight > 0] = label == k
        layer = diffused(np.column_stack([values * member[:, None], member])).clip(0)
        total += layer * layer[:, -1:] ** settings.sharpness
    return total[:, :-1] / np.maximum(total[:, -1:], 1e-12)
