"""Inpainting: what the parts look like that no view shows (section 4.4 leaves them to an image inpainter).

They keep the look that the mesh brought, shifted to meet the seen parts' colours. Where it brought none, they are taken
from their mirror images (`mirror`), and what is left is continued along the surface.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csc_array, diags_array
from scipy.sparse.linalg import splu

from v2m4.arrays import Real
from v2m4.geometry.mesh import Mesh
from v2m4.render.atlas import Texels, dominant_colors
from v2m4.settings import FillSettings
from v2m4.stages.texture.look import Look, own_look
from v2m4.stages.texture.mirror import mirror_look
from v2m4.stages.texture.samples import Samples


def inpaint(look: Look, mesh: Mesh, samples: Samples, texels: Texels, settings: FillSettings) -> Real:
    """(N,3) colours in [0,1] of all texels: the look's as far as they are surely seen, else what they may look like.

    mesh: posed as the look was seen, with the texture or vertex colours that it brought, if any.
    """
    bare = mesh.texture is None and mesh.colors is None
    if bare and settings.mirror:
        look = mirror_look(look, mesh, samples)
    base_samples, base_texels = own_look(mesh, samples, texels)  # (P,3), (N,3)
    shift = diffuse_colors(
        look.sample_colors - base_samples, look.samples_seen, samples, settings.palette if bare else 0
    )
    unseen = samples.at_texels(shift) + base_texels  # (P,3) -> (N,3)
    seen = look.texels_seen[:, None]
    return np.clip(seen * look.texel_colors + (1 - seen) * unseen, 0, 1)


def diffuse_colors(values: Real, seen: Real, samples: Samples, palette: int = 0) -> Real:
    """(P,C) that equal ``values`` where seen (P,) is 1 and continue them along the surface elsewhere, harmonically.

    Without a palette: the minimiser of seen * |x - values|^2 + the differences between neighbouring samples, smooth
    everywhere. With one, the prevailing one of so many colours is continued, which keeps them clean instead of mixing
    them to mud: their shares are diffused and sharpened. Pieces of the surface that nothing sees take the mean, or the
    most frequent colour.
    """
    weight = np.where(seen > 0.3, 50 * seen, 0)
    if not weight.any():
        return np.full_like(values, 0.5)
    faint = 1e-5
    identity = diags_array(np.ones(len(weight)))
    solver = splu(csc_array(identity - samples.adjacency + diags_array(weight + faint)))

    def diffused(layer: Real) -> Real:
        return solver.solve(layer * weight[:, None] + faint * (layer * weight[:, None]).sum(0) / weight.sum())

    if palette == 0:
        return diffused(values)
    label, count = dominant_colors(values[weight > 0], palette)
    total = np.zeros((len(values), values.shape[1] + 1))
    for k in range(count):
        member = np.zeros(len(values))
        member[weight > 0] = label == k
        layer = diffused(np.column_stack([values * member[:, None], member])).clip(0)
        total += layer * layer[:, -1:] ** 3
    return total[:, :-1] / np.maximum(total[:, -1:], 1e-12)
