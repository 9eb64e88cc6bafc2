"""The GPU kernels of the query/key norm against the formula."""

from __future__ import annotations

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize(("shape", "dtype"), [((50, 2, 3, 64), torch.float16), ((1, 7, 2, 4, 24), torch.float32)])
def test_values_and_slopes_are_those_of_the_formula(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    from v2m4.generators.trellis.layers import normalise_heads

    rng = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=rng).to(dtype)
    gamma, weight = torch.rand(shape[-3:], generator=rng), torch.randn(shape, generator=rng).to(dtype)
    values, slopes = [], []
    for device, kind in (("cpu", torch.float32), ("cuda", dtype)):
        own = x.to(device, kind).requires_grad_()
        value = normalise_heads(own, gamma.to(device))
        values.append(value.detach().cpu().to(dtype))
        slopes.append(torch.autograd.grad(value, own, weight.to(value))[0].cpu().to(dtype))
    torch.testing.assert_close(values[1], values[0])
    torch.testing.assert_close(slopes[1], slopes[0], rtol=2e-3, atol=1e-4 if dtype == torch.float32 else 2e-3)
