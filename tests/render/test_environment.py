"""A panorama's light: what is known of it in closed form, and the way between directions and texels."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from v2m4.render.environment import (
    irradiance,
    irradiance_matrices,
    look_up,
    panorama_coordinates,
    panorama_directions,
)

NORMALS = torch.nn.functional.normalize(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), dim=-1)


def test_light_that_is_the_same_everywhere_falls_on_every_surface_with_pi_times_its_strength():
    light = irradiance(irradiance_matrices(torch.full((128, 256, 3), 0.7)), NORMALS)
    assert light == pytest.approx(torch.full_like(light, 0.7 * math.pi), rel=0.02)


@given(st.integers(0, 2), st.floats(0.1, 1.0))
def test_light_that_grows_along_an_axis_gives_the_integral_of_the_cosine_lobe(axis, strength):
    """Of 1 + s d_axis the band 0 gives pi, and the band 1 two thirds of pi times s n_axis (Ramamoorthi, Hanrahan)."""
    panorama = 1 + strength * panorama_directions(128, 256)[..., axis : axis + 1]
    want = math.pi * (1 + 2 / 3 * strength * NORMALS[:, axis : axis + 1])
    # The sum over rows and columns has one interval less than it has terms: an error of the order of 1 / rows.
    assert irradiance(irradiance_matrices(panorama), NORMALS) == pytest.approx(want, abs=2 / 128 * float(want.max()))


def test_texels_look_where_their_directions_are_looked_up():
    height, width = 9, 16
    directions = panorama_directions(height, width)[1:-1, 1:-1]  # the poles have no u, and the seam two
    u, v = panorama_coordinates(3 * directions).unbind(-1)
    assert (u % 1) * (width - 1) == pytest.approx(torch.arange(1.0, width - 1).expand(height - 2, -1), abs=1e-4)
    assert v * (height - 1) == pytest.approx(torch.arange(1.0, height - 1)[:, None].expand_as(v), abs=1e-4)
    panorama = torch.rand(height, width, 3)
    assert look_up(panorama, directions) == pytest.approx(panorama[1:-1, 1:-1], abs=1e-4)
