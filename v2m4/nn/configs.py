"""Configurations that checkpoints bring: odd values become sentences before anything is built from them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from v2m4.errors import V2M4Error

T = TypeVar("T")
MOST = 1_000_000
MOST_LAYERS = 1000
_WIDTHS, _HEADS = ("width", "width_decoder", "hidden_size"), ("heads", "num_heads", "num_attention_heads")
_OF_LAYERS = ("layers", "depth", "blocks")


@contextmanager
def understood(plug: str) -> Iterator[None]:
    """Whatever odd values raise inside the block, where a configuration is read or a network made from it, becomes a
    V2M4Error that names `plug`."""
    try:
        yield
    except V2M4Error:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError, AssertionError) as error:
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
        raise V2M4Error(
            f"{plug}: no network can be made from this checkpoint's configuration ({reason}). "
            f"Use the released checkpoint or another plug."
        ) from error


def sound(config: T, plug: str) -> T:
    """The dataclass `config` itself, if its numbers can be sizes of a network.

    Whole numbers are from 1 (from 0 where 0 is the default) to a million, layers to a thousand; other numbers finite,
    and positive unless the default is not; heads divide the width. Raises V2M4Error where it is not so.
    """
    wrong = list(_problems(config))
    if wrong:
        raise V2M4Error(
            f"{plug}: this checkpoint's configuration cannot be: {'; '.join(wrong)}. "
            f"Use the released checkpoint or another plug."
        )
    return config


def _problems(config: Any) -> Iterator[str]:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _problems(value)
        elif (wish := _wish(str(field.type), field.name, field.default, value)) is not None:
            yield f"{field.name} is {value!r}, and must be {wish}"
            return
    # Every head gets a slice of the width.
    width, heads = ([(n, getattr(config, n)) for n in names if hasattr(config, n)] for names in (_WIDTHS, _HEADS))
    for (name, whole), (of, parts) in itertools.product(width, heads):
        if whole % parts:
            yield f"{name} is {whole}, which {of} = {parts} does not divide"


def _wish(kind: str, name: str, default: Any, value: Any) -> str | None:
    """What the value must be, where it is not."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "bool":
        return None if isinstance(value, bool) else "true or false"
    if kind == "int":
        low = 0 if default == 0 else 1
        high = MOST_LAYERS if any(word in name for word in _OF_LAYERS) else MOST
        return None if isinstance(value, int) and number and low <= value <= high else f"from {low} to {high}"
    if kind == "float":
        any_sign = isinstance(default, (int, float)) and default <= 0
        fits = number and math.isfinite(value) and (any_sign or value > 0)
        return None if fits else "a finite number" if any_sign else "a positive number"
    return None
