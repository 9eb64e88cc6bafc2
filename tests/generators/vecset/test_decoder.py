"""The decoder: which numbers a point becomes, and what asking must not depend on."""

from __future__ import annotations

import math

import torch

from tests.generators.vecset import tiny
from v2m4.generators.vecset.decoder import DecoderConfig, VecsetDecoder
from v2m4.generators.vecset.embedding import fourier_embedding

SMALL = DecoderConfig(latent_channels=4, width=16, heads=2, layers=1, frequencies=3)


def test_a_point_becomes_itself_its_sines_and_its_cosines_coordinate_by_coordinate() -> None:
    x, y, z = 0.3, -0.7, 1.1
    waves = [f * c for c in (x, y, z) for f in (1, 2, 4)]
    expected = [x, y, z, *map(math.sin, waves), *map(math.cos, waves)]
    got = fourier_embedding(torch.tensor([[x, y, z]]), 3)
    torch.testing.assert_close(got, torch.tensor([expected]))


def test_half_precision_points_keep_the_digits_they_have() -> None:
    points = torch.rand(5, 3).half()
    assert fourier_embedding(points, 8).dtype == torch.float32
    assert torch.equal(fourier_embedding(points, 8), fourier_embedding(points.float(), 8))


@torch.no_grad()
def test_answers_do_not_depend_on_who_is_asked_along() -> None:
    torch.manual_seed(0)
    decoder = VecsetDecoder(SMALL)
    keys_values = decoder.keys_values(torch.randn(1, 5, 4))
    points = torch.rand(10, 3) * 2 - 1
    parts = torch.cat([decoder.query(p, keys_values) for p in points.split(3)])
    torch.testing.assert_close(decoder.query(points, keys_values), parts, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_the_sign_and_the_scale_of_a_checkpoint_are_applied() -> None:
    from dataclasses import replace

    torch.manual_seed(0)
    plain = VecsetDecoder(SMALL)
    other = VecsetDecoder(replace(SMALL, sign=-1.0, scale_factor=2.0))
    other.load_state_dict(plain.state_dict())
    latents, points = torch.randn(1, 5, 4), torch.rand(6, 3)
    expected = -plain.query(points, plain.keys_values(latents))
    torch.testing.assert_close(other.query(points, other.keys_values(2 * latents)), expected)


@torch.no_grad()
def test_a_narrow_point_decoder_has_a_projection_and_no_norms() -> None:
    narrow = VecsetDecoder(DecoderConfig(4, 16, 2, 1, 3, query_shrink=2, query_mlp_ratio=1.0, last_norm=False))
    names = set(narrow.state_dict())
    assert "geo_decoder.latents_proj.weight" in names
    assert not any("geo_decoder" in name and ("q_norm" in name or "ln_post" in name) for name in names)
    assert narrow.query(torch.rand(3, 3), narrow.keys_values(torch.randn(1, 5, 4))).shape == (3,)


@torch.no_grad()
def test_the_tiny_models_field_is_a_ball() -> None:
    decoder = tiny.triposg().decoder
    keys_values = decoder.keys_values(torch.randn(1, 6, 4))
    inside, outside = torch.zeros(1, 3), torch.full((1, 3), 0.9)
    assert decoder.query(inside, keys_values) > 0 > decoder.query(outside, keys_values)
