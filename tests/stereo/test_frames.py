"""Square pictures in, maps of the pictures' own size out."""

import pytest
import torch

from v2m4.errors import V2M4Error
from v2m4.stereo.frames import check_images, maps_to_images, pad_to_square


@pytest.mark.parametrize("size", [(6, 6), (4, 7), (7, 4), (5, 8)])
def test_padding_is_undone_exactly_at_the_same_resolution(size: tuple[int, int]) -> None:
    images = torch.rand(2, *size, 3)
    squares, padding = pad_to_square(images)
    assert squares.shape[1] == squares.shape[2] == max(size)
    assert torch.equal(maps_to_images(squares, max(size), padding), images)


def test_a_map_that_is_linear_in_the_pixel_stays_so_when_resampled() -> None:
    ramp = ((torch.arange(8) + 0.5) / 8).expand(8, 8)[None, :, :, None]
    enlarged = maps_to_images(ramp, 16, pad_to_square(torch.zeros(1, 16, 16, 3))[1])[0, :, :, 0]
    want = (torch.arange(16) + 0.5) / 16
    assert torch.allclose(enlarged[:, 1:-1], want[1:-1].expand(16, 14), atol=1e-6)


@pytest.mark.parametrize(
    "images",
    [torch.rand(2, 8, 8), torch.rand(2, 3, 8, 8), torch.zeros(2, 8, 8, 3, dtype=torch.uint8), torch.rand(1, 8, 8, 3)],
)
def test_anything_but_enough_colour_pictures_is_refused(images: torch.Tensor) -> None:
    with pytest.raises(V2M4Error, match="dust3r: needs at least 2 pictures"):
        check_images(images, "dust3r", fewest=2)
