"""The layouts of the projections, and what attention must obey whatever its weights are."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from v2m4.generators.vecset.attention import CrossAttention, CrossBlock, HeadNorm, SelfAttention

HEADS, WIDTH, CONTEXT = 2, 8, 6
NORMS: tuple[HeadNorm, ...] = ("none", "layer", "rms")


@torch.no_grad()
@pytest.mark.parametrize("norm", NORMS)
def test_self_attention_cuts_heads_first_and_queries_keys_values_then(norm: HeadNorm) -> None:
    torch.manual_seed(0)
    module, x = SelfAttention(WIDTH, HEADS, norm), torch.randn(2, 5, WIDTH)
    per_head = WIDTH // HEADS
    projected = x @ module.c_qkv.weight.T
    results = []
    for head in range(HEADS):
        start = head * 3 * per_head
        q, k, v = (projected[..., start + i * per_head : start + (i + 1) * per_head] for i in range(3))
        if norm == "layer":
            q, k = (F.layer_norm(t, (per_head,), eps=1e-6) for t in (q, k))
        elif norm == "rms":
            q, k = (t * (t.square().mean(-1, keepdim=True) + 1e-6).rsqrt() for t in (q, k))
        results.append((q @ k.transpose(1, 2) / per_head**0.5).softmax(-1) @ v)
    expected = module.c_proj(torch.cat(results, dim=-1))
    torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("norm", NORMS)
def test_the_order_of_a_set_does_not_matter(norm: HeadNorm) -> None:
    torch.manual_seed(0)
    module = CrossAttention(WIDTH, HEADS, CONTEXT, norm)
    x, context = torch.randn(1, 3, WIDTH), torch.randn(1, 7, CONTEXT)
    shuffled = context[:, torch.randperm(7)]
    torch.testing.assert_close(
        module(x, module.keys_values(context)), module(x, module.keys_values(shuffled)), rtol=1e-4, atol=1e-6
    )


@torch.no_grad()
def test_every_point_is_asked_by_itself() -> None:
    torch.manual_seed(0)
    block = CrossBlock(WIDTH, HEADS, 1e-5, "layer")
    points, keys_values = torch.randn(1, 4, WIDTH), block.keys_values(torch.randn(1, 5, WIDTH))
    together = block(points, keys_values)
    alone = torch.cat([block(p, keys_values) for p in points.split(1, dim=1)], dim=1)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
