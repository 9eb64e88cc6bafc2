"""Number formats: what is chosen where, and that settings found are restored."""

import pytest
import torch
from torch import nn

from v2m4.nn.precision import choose_precision, computing, store_linears

CPU = torch.device("cpu")


def test_a_cpu_computes_in_float32_unless_told() -> None:
    assert choose_precision("auto", CPU) == "float32"
    assert choose_precision("bfloat16", CPU) == "bfloat16"


def test_only_linear_layers_are_stored_in_half_precision() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Linear(2, 2), nn.LayerNorm(2))
    store_linears(model, "bfloat16")
    assert [p.dtype for p in model.parameters()] == [torch.float32] * 2 + [torch.bfloat16] * 2 + [torch.float32] * 2
    untouched = nn.Linear(2, 2)
    store_linears(untouched, "tf32")
    assert untouched.weight.dtype == torch.float32


def test_stored_layers_compute_inside_the_block() -> None:
    layer = nn.Linear(4, 4)
    x = torch.randn(3, 4)
    exact = layer(x)
    store_linears(layer, "bfloat16")
    with computing("bfloat16", CPU):
        assert torch.allclose(layer(x).float(), exact, atol=0.05)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_global_settings_are_restored_even_after_an_error(precision) -> None:
    before = torch.get_float32_matmul_precision()

    def fail() -> None:
        with computing(precision, CPU):
            assert (torch.get_float32_matmul_precision() == "high") == (precision == "tf32")
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert torch.get_float32_matmul_precision() == before
    assert not torch.is_autocast_enabled("cpu")
