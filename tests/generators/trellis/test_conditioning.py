"""The image side: cropping, premultiplying, DINOv2 tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.generators.trellis import tiny
from v2m4.errors import V2M4Error
from v2m4.generators.trellis.conditioning import (
    IMAGE_SIZE,
    condition_from_tokens,
    crop_box,
    encoder_input,
    object_image,
    on_black,
)


def test_the_crop_is_square_with_a_margin_about_the_opaque_part() -> None:
    alpha = np.zeros((50, 80), np.uint8)
    alpha[10:21, 40:61] = 255
    alpha[0, 0] = 200
    assert crop_box(alpha) == (38, 3, 62, 27)


def test_an_empty_picture_and_a_single_pixel_are_explained() -> None:
    alpha = np.zeros((8, 8), np.uint8)
    with pytest.raises(V2M4Error, match="no opaque pixel"):
        crop_box(alpha)
    alpha[3, 3] = 255
    with pytest.raises(V2M4Error, match="single pixel"):
        crop_box(alpha)


def test_an_object_at_the_border_is_padded_with_black() -> None:
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[:20, :20] = 255
    image = object_image(rgba)
    assert image.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    assert image[0].max() < 16 and image[:, 0].max() < 16
    assert image[IMAGE_SIZE // 2, IMAGE_SIZE // 2].tolist() == [255, 255, 255]


def test_transparent_colours_do_not_shine_through() -> None:
    rgba = np.full((40, 40, 4), 255, np.uint8)
    rgba[:, :20] = (255, 0, 0, 0)
    image = on_black(Image.fromarray(rgba, "RGBA"))
    assert not image[:, :200].any()
    assert (image[:, 300:] == 255).all()


def test_encoder_input_removes_mean_and_deviation() -> None:
    pixels = encoder_input(np.zeros((10, 10, 3), np.uint8))
    assert pixels.shape == (3, IMAGE_SIZE, IMAGE_SIZE)
    assert pixels[0, 0, 0].item() == pytest.approx(-0.485 / 0.229, rel=1e-6)


def test_tokens_are_taken_before_the_networks_own_norm_and_whitened() -> None:
    backbone, pixels = tiny.backbone(), torch.randn(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    nn.init.constant_(backbone.layernorm.weight, 3.0)
    seen: list[torch.Tensor] = []
    hook = backbone.layernorm.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    with torch.no_grad():
        backbone(pixel_values=pixels)
    hook.remove()
    tokens = tiny.encoder()(pixels)
    assert tokens.shape == (1, 1 + 4 + 14 * 14, tiny.CONDITION)
    torch.testing.assert_close(tokens, condition_from_tokens(seen[0]))
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(tokens.shape[:2]), atol=1e-5, rtol=0)
