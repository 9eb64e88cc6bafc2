"""The GPU kernel of convolutions' gathers against indexing."""

from __future__ import annotations

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize(("rows", "width", "dtype"), [(70, 96, torch.float16), (5, 8, torch.float32)])
def test_rows_are_those_of_the_index_and_zeros(rows: int, width: int, dtype: torch.dtype) -> None:
    from v2m4.generators.trellis.gather_triton import gather_rows_or_zero

    rng = torch.Generator().manual_seed(0)
    x = torch.randn(rows, width, generator=rng).to("cuda", dtype)
    index = torch.randint(rows + 1, (31, 5, 3), generator=rng).int().cuda()
    expected = torch.cat([x, x.new_zeros(1, width)])[index.long()]
    assert torch.equal(gather_rows_or_zero(x, index), expected)
    turned = index.transpose(0, 1)
    assert torch.equal(gather_rows_or_zero(x, turned), expected.transpose(0, 1))
