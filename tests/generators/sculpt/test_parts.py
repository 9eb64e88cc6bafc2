"""The parts of `sculpt`: network, readouts, the square of the picture, surface."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from v2m4.errors import V2M4Error
from v2m4.generators.sculpt.colors import matched
from v2m4.generators.sculpt.network import (
    CHANNELS,
    GRID,
    LAYERS,
    LEANS,
    PICTURE,
    SLICES,
    ColumnNetwork,
    Prediction,
    slice_depths,
)
from v2m4.generators.sculpt.picture import Square, square_around
from v2m4.generators.sculpt.readout import extended, from_both, from_columns, from_layers
from v2m4.generators.sculpt.surface import smooth_along_rays, surface
from v2m4.geometry.marching_cubes import marching_cubes
from v2m4.settings import SculptSettings

SETTINGS = SculptSettings(faces=4000)
FINE = SETTINGS.resolution
STEP = float(slice_depths()[1] - slice_depths()[0])


def answer(side: int = 4, logits: torch.Tensor | None = None) -> Prediction:
    columns = torch.zeros(1, SLICES, side, side) if logits is None else logits
    layers = torch.tensor([-0.1, 0.1, 0.2, 0.4, 0.5, 0.6]).view(1, -1, 1, 1).expand(1, -1, side, side)
    exist = torch.tensor([1.0, 1.0, -1.0]).view(1, -1, 1, 1).expand(1, -1, side, side)
    return Prediction(columns, layers, exist, torch.rand(1, 6, side, side))


def test_the_network_answers_in_the_shapes_it_promises() -> None:
    network = ColumnNetwork(widths=(8, 8, 16, 16), depth=1, heads=2, head=16).eval()
    with torch.no_grad():
        found, leans = network(torch.randn(2, CHANNELS, PICTURE, PICTURE))
    assert leans.shape == (2, LEANS, LEANS)
    assert found.columns.shape == (2, SLICES, GRID, GRID)
    assert found.layers.shape == (2, 2 * LAYERS, GRID, GRID) and found.exist.shape == (2, LAYERS, GRID, GRID)
    assert (found.layers.diff(dim=1) > 0).all()  # entries and exits come in order
    assert found.colors.min() >= 0 and found.colors.max() <= 1


def test_columns_of_some_pixels_are_those_of_all_of_them() -> None:
    network = ColumnNetwork(widths=(8, 8, 16, 16), depth=1, heads=2, head=16).eval()
    pixels = torch.randint(GRID * GRID, (2, 50), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen = network.look(torch.randn(2, CHANNELS, PICTURE, PICTURE))
        whole, some = network.answer(seen), network.answer(seen, pixels=pixels)
    wanted = whole.columns.flatten(2).gather(2, pixels[:, None].expand(-1, SLICES, -1))
    torch.testing.assert_close(some.columns[..., 0], wanted, atol=1e-5, rtol=1e-4)


@given(seed=st.integers(0, 1000), spread=st.floats(0.5, 6))
@settings(deadline=None, max_examples=20)
def test_columns_are_as_full_as_they_say(seed: int, spread: float) -> None:
    logits = spread * torch.randn(1, SLICES, 3, 3, generator=torch.Generator().manual_seed(seed))
    inside = (from_columns(answer(3, logits)) > 0).sum(1).float()
    expected = torch.sigmoid(logits).sum(1)
    assert ((inside - expected).abs() <= 1).all()


def test_a_thin_part_of_uncertain_depth_is_kept() -> None:
    """A leg that may be at any of ten depths: nowhere likelier than not, yet it is there once."""
    logits = torch.full((1, SLICES, 1, 1), -12.0)
    logits[0, 30:40] = torch.linspace(-2.0, -1.0, 10)[:, None, None]
    assert (torch.sigmoid(logits) > 0.5).sum() == 0
    inside = (from_columns(answer(1, logits)) > 0)[0, :, 0, 0].nonzero()[:, 0]
    assert 1 <= len(inside) <= 3 and inside.min() >= 37


def test_layers_are_inside_between_entry_and_exit_where_they_exist() -> None:
    volume = from_layers(answer())[0, :, 0, 0]
    at = slice_depths()
    wanted = ((at > -0.1) & (at < 0.1)) | ((at > 0.2) & (at < 0.4))
    assert torch.equal(volume > 0, wanted)
    torch.testing.assert_close(volume[wanted].max(), torch.tensor(0.1), atol=STEP, rtol=0)


def test_no_layer_falls_between_the_slices() -> None:
    thin = answer()._replace(layers=torch.tensor([0.1, 0.1001, 0.3, 0.4, 0.5, 0.6]).view(1, -1, 1, 1))
    thin = thin._replace(exist=torch.tensor([1.0, -1.0, -1.0]).view(1, -1, 1, 1))
    assert SETTINGS.solid.thinnest > STEP
    assert (from_layers(thin) > 0).any()


def test_columns_and_layers_together_keep_what_both_say() -> None:
    both = from_both(answer(1, torch.where(from_layers(answer(1)) > 0, 8.0, -8.0)))[0, :, 0, 0]
    assert torch.equal(both > 0, from_layers(answer(1))[0, :, 0, 0] > 0)


def test_columns_outside_are_those_of_the_nearest_inside() -> None:
    maps = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 6, 4, 4)
    inside = np.zeros((4, 4), bool)
    inside[:, 1:3] = True
    assert extended(maps, inside)[0, 0, 0].tolist() == [1, 1, 2, 2]


@given(x=st.floats(-0.5, 1.5), y=st.floats(-0.5, 1.5), width=st.floats(0.05, 1.2), middle=st.floats(0.1, 0.9))
@settings(deadline=None, max_examples=30)
def test_places_and_slopes_are_each_others_inverse(x: float, y: float, width: float, middle: float) -> None:
    square = Square(np.array([middle, 1 - middle]), width)
    np.testing.assert_allclose(square.place(square.slopes(np.array([[x, y]]))), [[x, y]], atol=1e-9)


def test_the_square_holds_the_box_with_a_margin_and_cuts_what_it_says() -> None:
    alpha = np.zeros((100, 100), np.uint8)
    alpha[20:60, 30:50] = 255
    square = square_around(alpha)
    np.testing.assert_allclose(square.middle, [0.4, 0.4])
    assert square.width == pytest.approx(0.48)
    cut = square.cut(alpha[..., None].astype(np.float32) / 255, 240)
    assert cut.shape[:2] == (240, 240)
    assert cut.mean() == pytest.approx(40 * 20 / 48**2, rel=0.02)
    assert cut[120, 120] == 1 and cut[5, 120] == 0 and cut[120, 40] == 0


def ball(radius: float = 0.3) -> tuple[torch.Tensor, np.ndarray, Square]:
    """A volume that is a ball up to perspective, and its outline."""
    at = (torch.arange(GRID) + 0.5) / GRID - 0.5
    z, y, x = torch.meshgrid(slice_depths(), at, at, indexing="ij")
    fine = (np.arange(FINE) + 0.5) / FINE - 0.5
    far = np.hypot(*np.meshgrid(fine, fine))
    alpha = np.clip((radius - far) * FINE + 0.5, 0, 1).astype(np.float32)
    return radius - (x**2 + y**2 + z**2).sqrt(), alpha, Square(np.array([0.5, 0.5]), 0.2)


def test_the_surface_of_a_ball_is_one_on_the_cameras_rays() -> None:
    volume, alpha, square = ball()
    points, faces = surface(volume, alpha, square, SETTINGS)
    assert len(faces) <= 4000 and faces.max() < len(points)
    away = 1 / square.ray_width
    across = (square.place(points[:, :2] / points[:, 2:]) - 0.5)[:, :2]
    radius = np.sqrt((across**2).sum(1) + (points[:, 2] - away) ** 2)
    np.testing.assert_allclose(radius, 0.3, atol=0.012)
    a, b, c = (points[faces[:, i]] - [0, 0, away] for i in range(3))
    volume_ = (a * np.cross(b, c)).sum() / 6
    assert volume_ == pytest.approx(4 / 3 * np.pi * 0.3**3, rel=0.05)  # positive: it faces outwards


def test_the_outline_cuts_the_surface() -> None:
    volume, _, square = ball()
    fine = (np.arange(FINE) + 0.5) / FINE - 0.5
    half = np.tile((fine < 0.05).astype(np.float32), (FINE, 1))
    points, _ = surface(volume, half, square, SETTINGS)
    assert (square.place(points[:, :2] / points[:, 2:])[:, 0]).max() == pytest.approx(0.55, abs=0.01)


def test_nothing_inside_is_said() -> None:
    volume, alpha, square = ball()
    with pytest.raises(V2M4Error, match="no surface"):
        surface(volume, 0 * alpha, square, SETTINGS)


def test_smoothing_keeps_slopes_and_takes_the_grain() -> None:
    rng = np.random.default_rng(0)
    sheet = torch.zeros(6, 40, 40)
    sheet[3:] = 1
    vertices, faces = marching_cubes(sheet, 0.5)
    plane = vertices[:, 1:].double().numpy() @ [0.3, -0.2]
    inner = ((vertices[:, 1:] > 12) & (vertices[:, 1:] < 27)).all(1).numpy()
    smooth = smooth_along_rays(plane, faces.numpy(), SETTINGS)
    np.testing.assert_allclose(smooth[inner], plane[inner], atol=0.02)
    noise = rng.normal(0, 1, len(plane))
    assert smooth_along_rays(noise, faces.numpy(), SETTINGS)[inner].std() < 0.4 * noise.std()


def test_far_sides_meet_the_picture_at_the_rim() -> None:
    front = np.zeros((GRID, GRID, 4), np.float32)
    front[30:100, 30:100] = [0.8, 0.4, 0.2, 1]
    dark = np.full((GRID, GRID, 6), 0.3, np.float32)
    out = matched(dark, front, SETTINGS)
    np.testing.assert_allclose(out[35, 60, :3], front[35, 60, :3], atol=0.05)
    np.testing.assert_allclose(out[60, 60, 3:], front[60, 60, :3], atol=0.1)
    assert matched(dark, 0 * front, SETTINGS) is dark
