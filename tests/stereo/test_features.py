"""Matches between renderings and the frame: right for most points, and none rather than nonsense."""

from __future__ import annotations

import torch

from tests.stages.camera.known_cameras import orbit, painted_creature
from v2m4.geometry.camera import Camera
from v2m4.render import render_fast
from v2m4.stereo import STEREOS, Locator
from v2m4.stereo.features import Features

SIZE = 256


def pictures(cameras: list[Camera]):
    """Colours, surface points and masks of the views."""
    batch = Camera(torch.stack([c.world_to_camera for c in cameras]))
    images = render_fast(painted_creature(), batch, SIZE, ("color", "position"))
    return images.color, images.position, images.triangle >= 0


def test_most_matches_of_a_nearby_view_are_right() -> None:
    truth = orbit(40, 20, 2.2)
    reference = pictures([truth])[0][0]
    renderings, positions, inside = pictures([orbit(52, 15, 2.6, (0.1, 0, 0.05)), orbit(33, 28, 2.0)])
    matches = Features().locate(reference, renderings, positions, inside)
    assert len(matches.points) > 200
    error = (truth.project(matches.points)[0] - matches.pixels).norm(dim=1)
    assert float((error < 0.02).float().mean()) > 0.7


def test_an_identical_view_matches_itself_to_a_pixel() -> None:
    truth = orbit(40, 20, 2.2)
    renderings, positions, inside = pictures([truth])
    matches = Features().locate(renderings[0], renderings, positions, inside)
    error = (truth.project(matches.points)[0] - matches.pixels).norm(dim=1)
    assert float(error.median()) < 1.0 / SIZE


def test_empty_pictures_give_no_matches() -> None:
    renderings, positions, inside = pictures([orbit(40, 20, 2.2)])
    assert len(Features().locate(torch.zeros(SIZE, SIZE, 3), renderings, positions, inside).points) == 0
    nothing = torch.zeros_like(inside)
    assert len(Features().locate(renderings[0], torch.zeros_like(renderings), positions, nothing).points) == 0


def test_the_plug_is_a_locator_and_can_always_run() -> None:
    assert STEREOS["features"].missing() == []
    assert isinstance(STEREOS["features"].create(device="cpu"), Locator)
