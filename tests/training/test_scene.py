"""Examples for training: that picture, columns and colours show the same object."""

from __future__ import annotations

import pytest
import torch

from training.evaluate import layers_of, quality
from training.scene import Batch, make_batch
from training.sculpture import Sculpture, vector
from v2m4.generators.sculpt.network import GRID, LAYERS, PICTURE, SLICES, slice_depths


@pytest.fixture(scope="module")
def batch() -> Batch:
    """A red ball beside a blue one, seen at random, but neither behind the other: columns would end before it does."""
    s = Sculpture()
    s.cone(vector(0, 0, 0), vector(0.001, 0, 0), 0.3, 0.3, s.paint((1, 0, 0)))
    s.cone(vector(0.7, 0, 0), vector(0.701, 0, 0), 0.2, 0.2, s.paint((0, 0, 1)))
    parts, paints, count = s.tables()
    tables = torch.from_numpy(parts)[None], torch.from_numpy(paints)[None], torch.tensor([count], dtype=torch.int32)
    return make_batch(*tables, 400, torch.Generator().manual_seed(2))


def test_shapes_and_ranges(batch: Batch) -> None:
    assert batch.image.shape == (1, 6, PICTURE, PICTURE) and batch.columns.shape == (1, 400, SLICES)
    assert batch.colors.shape == (1, 6, GRID, GRID) and batch.known.shape == (1, GRID, GRID)
    assert batch.valid.all() and batch.image.isfinite().all()
    assert batch.columns.min() >= 0 and batch.columns.max() <= 1
    assert batch.colors.min() >= 0 and batch.colors.max() <= 1


def test_the_object_fills_the_picture_as_a_crop_does(batch: Batch) -> None:
    seen = batch.image[0, 3] > 0
    rows, columns = seen.any(1).nonzero()[:, 0], seen.any(0).nonzero()[:, 0]
    longest = max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0])) + 1
    assert 0.7 < longest / PICTURE < 0.95


def test_the_visible_surface_lies_at_depth_zero_on_average(batch: Batch) -> None:
    """The unit of length: what one picture cannot tell is fixed so."""
    assert batch.known.any() and abs(float(batch.sides[:, 0][batch.known].mean())) < 0.02


def test_sides_are_where_the_columns_begin_and_end(batch: Batch) -> None:
    depths, exist = layers_of(batch.columns)
    there = exist[..., 0]
    assert there.float().mean() > 0.97  # but for rays that graze
    sides = batch.sides.flatten(2).gather(2, batch.pixels[:, None].expand(-1, 2, -1)).transpose(1, 2)
    gap = (sides - depths[..., :2])[there].abs()
    assert gap.median() < 0.002
    # Also where rays graze the surface: they do not leave it where they came in.
    assert gap.mean() < 0.01


def test_balls_are_round(batch: Batch) -> None:
    """The thickest column of a ball is about as long as the ball is wide in the picture."""
    depths, _ = layers_of(batch.columns)
    thickest = float((depths[0, :, 1] - depths[0, :, 0]).max())
    area = float(batch.known[0].float().mean())
    # Two balls of radii 3 : 2, perhaps one before the other.
    radius = (area / torch.pi / (1 + (2 / 3) ** 2)) ** 0.5
    assert 1.6 * radius < thickest < 3.2 * radius


def test_far_sides_have_the_objects_colours(batch: Batch) -> None:
    back = batch.colors[0, 3:, batch.known[0]]
    strongest = torch.maximum(back[0], back[2])
    assert (back[1] < strongest).all() and float(strongest.min()) > 0.2  # red or blue, never green or black


def test_layers_are_found_between_the_slices() -> None:
    depths = slice_depths()
    step = float(depths[1] - depths[0])
    edges = [float(depths[10]) + 0.3 * step, float(depths[20]) + 0.7 * step, float(depths[50]), float(depths[60])]
    soft = torch.zeros(SLICES)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        soft += ((depths - start) / step + 0.5).clamp(0, 1) * ((end - depths) / step + 0.5).clamp(0, 1)
    found, exist = layers_of(soft)
    # The ramps' corners are cut by the slices: up to 0.08 of a step.
    torch.testing.assert_close(found[:4], torch.tensor(edges), atol=0.1 * step, rtol=0)
    assert exist.tolist() == [True, True] + [False] * (LAYERS - 2)


def test_a_perfect_answer_is_measured_as_perfect(batch: Batch) -> None:
    volume = torch.full((1, SLICES, GRID * GRID), -1.0)
    volume.scatter_(2, batch.pixels[:, None].expand(-1, SLICES, -1), batch.columns.transpose(1, 2) - 0.5)
    found = quality(volume.view(1, SLICES, GRID, GRID), batch.colors, batch)
    assert found.overlap > 0.999 and found.front == found.back == found.shift == found.color == 0
