"""Small pictures of a mesh and of frames, made alike."""

from __future__ import annotations

import numpy as np
import torch

from tests.geometry.test_embedded_deformation import tube
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.render.fast import render_fast
from v2m4.stages.registration.parts.synthesis import Synthesis, Windows, fitted_light, frame_picture

VERTICES, FACES = tube(16, 12, length=1.0, radius=0.15)
COLOURS = 0.5 + 0.4 * np.sin(np.stack([9 * VERTICES[:, 0], 7 * VERTICES[:, 1], 8 * VERTICES[:, 2]], axis=1))
PLAIN = np.tile([1.0, 0, 0, 0], (3, 1))
LIT = np.array([[0.8, 0.2, -0.1, -0.1], [0.7, 0.2, -0.1, -0.1], [0.6, 0.1, -0.1, -0.2]])


def frame(size: int = 256) -> np.ndarray:
    """The whole picture as the project's own renderer draws it."""
    mesh = Mesh(torch.tensor(VERTICES).float(), torch.tensor(FACES), colors=torch.tensor(COLOURS).float())
    images = render_fast(mesh, Camera.identity(), 2 * size, ("mask", "color"))
    assert images.mask is not None and images.color is not None
    rgba = torch.cat([images.color * images.mask[..., None], images.mask[..., None]], dim=-1)[0]
    rgba = rgba.view(size, 2, size, 2, 4).mean((1, 3))
    colour = rgba[..., :3] / rgba[..., 3:].clamp_min(1e-6)
    return (torch.cat([colour, rgba[..., 3:]], dim=-1).numpy() * 255).round().astype(np.uint8)


def test_a_picture_is_what_the_frame_shows() -> None:
    windows = Windows.around(np.array([[0.25, 0.4, 0.75, 0.6]]), 0.1)
    drawn = Synthesis(FACES, COLOURS, PLAIN, windows.side, 48).pictures(VERTICES[None], windows.corners)[0]
    shown = frame_picture(frame(), windows.corners[0], windows.side, 48)
    assert drawn[..., 3].sum() > 300
    assert np.abs(drawn - shown).mean() < 0.01
    off = frame_picture(frame(), windows.corners[0] + 0.02, windows.side, 48)
    assert np.abs(drawn - off).mean() > 3 * np.abs(drawn - shown).mean(), "a shift would be seen"


def test_squares_are_of_one_size_around_each_box() -> None:
    boxes = np.array([[0.2, 0.3, 0.6, 0.5], [0, 0, 0, 0], [0.5, 0.3, 0.7, 0.6]])
    windows = Windows.around(boxes, 0.0)
    np.testing.assert_allclose(windows.side, 0.4)
    np.testing.assert_allclose(windows.corners[0] + 0.2, [0.4, 0.4])
    np.testing.assert_allclose(windows.corners[2] + 0.2, [0.6, 0.45])
    assert windows.corners[1].tolist() in (windows.corners[0].tolist(), windows.corners[2].tolist())


def test_the_light_of_a_frame_is_found() -> None:
    corner, width = np.array([0.2, 0.2]), 0.6
    target = Synthesis(FACES, COLOURS, LIT, width, 64).pictures(VERTICES[None], corner[None])[0]
    found = fitted_light(FACES, COLOURS, VERTICES, target, corner, width, 0.0)
    again = Synthesis(FACES, COLOURS, found, width, 64).pictures(VERTICES[None], corner[None])[0]
    assert np.abs(again - target).max() < 0.02
    held = fitted_light(FACES, COLOURS, VERTICES, target, corner, width, 1e6)
    np.testing.assert_allclose(held, PLAIN, atol=1e-3)
