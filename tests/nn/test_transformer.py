"""Rotary positions and attention: the laws that make them what they are."""

import pytest
import torch
import torch.nn.functional as F

from v2m4.nn.transformer import (
    Attention,
    Block,
    PatchProjection,
    grid_positions,
    quick_gelu,
    rotate,
    rotation_tables,
    through,
)


def test_grid_positions_run_row_by_row() -> None:
    assert grid_positions(2, 3).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


@pytest.mark.parametrize("head_dim", [8, 16, 64])
def test_rotation_keeps_lengths_and_leaves_the_origin_alone(head_dim: int) -> None:
    generator = torch.Generator().manual_seed(head_dim)
    tokens = torch.randn(2, 3, 6, head_dim, generator=generator)
    turned = rotate(tokens, rotation_tables(grid_positions(2, 3), head_dim, 100.0))
    assert torch.allclose(turned.norm(dim=-1), tokens.norm(dim=-1), atol=1e-5)
    assert torch.equal(turned[:, :, 0], tokens[:, :, 0])


def test_scores_of_rotated_tokens_depend_on_their_offset_only() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 16, generator=generator)

    def score(at: tuple[int, int], other: tuple[int, int]) -> torch.Tensor:
        q = rotate(query, rotation_tables(torch.tensor([at]), 16, 100.0))
        k = rotate(key, rotation_tables(torch.tensor([other]), 16, 100.0))
        return (q * k).sum()

    assert torch.allclose(score((0, 0), (2, 3)), score((5, 7), (7, 10)), atol=1e-5)
    assert not torch.allclose(score((0, 0), (2, 3)), score((0, 0), (3, 2)), atol=1e-3)


def test_attention_equals_its_definition() -> None:
    torch.manual_seed(0)
    attention = Attention(12, 3, normalise_qk=True)
    x = torch.randn(2, 5, 12)
    q, k, v = (part.unflatten(-1, (3, 4)).transpose(1, 2) for part in attention.qkv(x).chunk(3, dim=-1))
    q, k = attention.q_norm(q), attention.k_norm(k)
    plain = ((q @ k.transpose(-1, -2) / 2).softmax(-1) @ v).transpose(1, 2).flatten(2)
    assert torch.allclose(attention(x), attention.proj(plain), atol=1e-6)


def test_a_block_without_its_branches_is_the_identity() -> None:
    block = Block(8, 2, 4, 1e-6, layer_scale=0.0)
    x = torch.randn(1, 4, 8)
    assert torch.equal(block(x), x)


def test_quick_gelu_is_close_to_gelu() -> None:
    x = torch.linspace(-4, 4, 101)
    assert (quick_gelu(x) - F.gelu(x)).abs().max() < 0.025


def test_tokens_of_patches_are_a_convolutions() -> None:
    torch.manual_seed(0)
    projection = PatchProjection(4, 10)
    images = torch.rand(2, 3, 8, 12)
    expected = projection.proj(images).flatten(2).transpose(1, 2)
    torch.testing.assert_close(projection.tokens(images), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_quick_gelu_on_a_gpu_is_that_of_the_cpu(dtype: torch.dtype) -> None:
    rng = torch.Generator().manual_seed(0)
    x, grad = (3 * torch.randn(5, 7, 1000, generator=rng)).to(dtype), torch.randn(5, 7, 1000, generator=rng).to(dtype)
    plain, fast = x.float().requires_grad_(), x.cuda().requires_grad_()
    known, found = quick_gelu(plain), quick_gelu(fast)
    assert found.dtype == dtype
    # Triton's sigmoid takes the GPU's fast power of two, which is a few units of float32's last place off.
    tolerance = max(2 * torch.finfo(dtype).eps, 3e-6)
    torch.testing.assert_close(found.cpu().float(), known, rtol=tolerance, atol=tolerance)
    (known_slope,) = torch.autograd.grad(known, plain, grad.float())
    (slope,) = torch.autograd.grad(found, fast, grad.cuda())
    torch.testing.assert_close(slope.cpu().float(), known_slope, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("gain", [None, 0.3])
def test_blocks_in_a_row_are_each_a_sum_of_its_parts(gain: float | None) -> None:
    torch.manual_seed(0)
    blocks = [Block(12, 3, 2, 1e-6, gain) for _ in range(3)]
    x = torch.randn(2, 5, 12)
    expected = x
    for block in blocks:
        expected = expected + block.ls1(block.attn(block.norm1(expected)))
        expected = expected + block.ls2(block.mlp(block.norm2(expected)))
    assert torch.allclose(through(blocks, x), expected, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_attention_at_ten_bits_is_that_of_full_precision() -> None:
    from v2m4.nn.precision import computing
    from v2m4.nn.transformer import attend

    q, k, v = (2 * torch.randn(3, 2, 4, 300, 64, generator=torch.Generator().manual_seed(0))).cuda().unbind()
    expected = F.scaled_dot_product_attention(q.double(), k.double(), v.double())
    with computing("tf32", q.device):
        found = attend(q, k, v)
    assert found.dtype == torch.float32
    assert float((found - expected).norm() / expected.norm()) < 2e-3
