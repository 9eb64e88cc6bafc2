"""The searches of clean-up in PyTorch against those in NumPy: the same meshes, vertex by vertex and face by face."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from v2m4.geometry import cleanup
from v2m4.geometry.cleanup_torch import has_border, pieces_torch, remove_bad_faces_torch, weld_torch
from v2m4.geometry.mesh import Mesh
from v2m4.settings import CleanupSettings


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), vertices=st.integers(3, 40), faces=st.integers(1, 60))
def test_searches_find_the_same(seed: int, vertices: int, faces: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 4, (vertices, 3)).astype(float)
    triangles = rng.integers(0, vertices, (faces, 3))
    expected = cleanup.weld(points, triangles)
    for found, known in zip(weld_torch(torch.from_numpy(points), torch.from_numpy(triangles)), expected, strict=True):
        assert np.array_equal(found.numpy(), known)
    good = cleanup.remove_bad_faces(expected[1])
    assert np.array_equal(remove_bad_faces_torch(torch.from_numpy(expected[1])).numpy(), good)
    if len(good):
        assert has_border(torch.from_numpy(good)) == bool(cleanup._directed_edges(good)[1].any())
        piece = pieces_torch(len(expected[0]), torch.from_numpy(good)).numpy()
        other = cleanup._pieces(len(expected[0]), good)
        # The same division into pieces, be they numbered otherwise.
        assert len(set(zip(piece.tolist(), other.tolist(), strict=True))) == len(set(piece)) == len(set(other))


@pytest.mark.parametrize("least", [0.0, 0.2])
def test_debris_is_removed_alike(least: float) -> None:
    chosen = CleanupSettings(floater_faces=least)
    mesh = _debris()
    plain, fast = cleanup._surface(mesh, chosen), cleanup._surface_on_gpu(mesh, chosen)
    assert len(plain[1]) < len(mesh.faces)
    for found, expected in zip(fast[:3], plain[:3], strict=True):
        assert np.array_equal(found, expected)
    assert fast[3] == bool(cleanup._directed_edges(plain[1])[1].any())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_mesh_on_a_gpu_is_cleaned_as_on_the_cpu() -> None:
    mesh = _debris()
    known, found = cleanup.clean(mesh, 400, CleanupSettings()), cleanup.clean(mesh.to("cuda"), 400, CleanupSettings())
    assert torch.equal(found.faces.cpu(), known.faces)
    torch.testing.assert_close(found.vertices.cpu(), known.vertices)


def _debris() -> Mesh:
    """A torn soup: a large sheet with a hole, a closed box, an inner wall within it, a speck, repeated vertices."""
    side = 24
    x, y = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    sheet = np.stack([x, y, 0.3 * np.sin(x)], axis=-1).reshape(-1, 3).astype(float)
    corner = (x * side + y)[:-1, :-1].ravel()
    cells = np.concatenate(
        [
            np.stack([corner, corner + side, corner + side + 1], 1),
            np.stack([corner, corner + side + 1, corner + 1], 1),
        ]
    )
    cells = np.delete(cells, [100, 101, 102], axis=0)
    cube = np.array([[c & 1, c >> 1 & 1, c >> 2 & 1] for c in range(8)], float)
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    box = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    parts = [
        (sheet, cells),
        (20 * cube + [0, 0, 5], box),
        (5 * cube + [5, 5, 10], box[:, ::-1]),
        (0.01 * cube, box),
        (sheet, cells[:7]),
    ]
    offsets = np.cumsum([0, *(len(p) for p, _ in parts[:-1])])
    points = np.concatenate([p for p, _ in parts])
    faces = np.concatenate([f + o for (_, f), o in zip(parts, offsets, strict=True)])
    return Mesh(torch.from_numpy(points).float(), torch.from_numpy(faces), colors=torch.rand(len(points), 3))
