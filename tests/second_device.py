"""A second device that every machine has: tensors that live on the CPU but say they do not.

Mixing them with tensors of the CPU raises, as on a GPU, and so does looking at their memory from outside. So a stage
that forgets to move an input fails in a test on a machine without a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

# Operators that move tensors between devices, and those whose small CPU operands every device takes.
_CROSSING = {"aten::_to_copy", "aten::copy_", "aten::to", "aten::_copy_from"}
_FROM_DATA = {torch.tensor, torch.as_tensor, torch.asarray}


@cache
def device() -> torch.device:
    """The device. PyTorch is told once a process that it exists; its tensors never reach a kernel of their own."""
    _setup_privateuseone_for_python_backend(rename="second")
    return torch.device("second:0")


class Elsewhere(Tensor):
    """A tensor of the second device around the CPU tensor ``held`` that has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        made: Elsewhere = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.shape,
            held.stride(),
            held.storage_offset(),
            dtype=held.dtype,
            device=device(),
            requires_grad=False,
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("can't convert a tensor of the second device to numpy. Use Tensor.cpu() first.")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self.numpy()

    def new_tensor(self, data: Any, **kwargs: Any) -> Tensor:
        """Data of Python's, made on the CPU, then moved."""
        kwargs = {"dtype": self.dtype} | kwargs
        return torch.tensor(data, device=device(), **kwargs)

    def tolist(self) -> Any:
        """As on every device, Python's own numbers may be asked for."""
        return self.held.tolist()

    def __repr__(self, **kwargs: Any) -> str:  # type: ignore[override]
        return f"Elsewhere({self.held!r})"


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operator on tensors that all live on one device; the result lives there too."""
    name = func._schema.name
    flat, _ = tree_flatten((args, kwargs))
    there = any(isinstance(x, Elsewhere) for x in flat)
    here = [x for x in flat if isinstance(x, Tensor) and not isinstance(x, Elsewhere) and x.dim() > 0]
    if there and here and name not in _CROSSING:
        raise RuntimeError(f"Expected all tensors to be on the same device, but found cpu and {device()} in {name}")
    asked = kwargs.get("device")
    target = there if asked is None else torch.device(asked).type == device().type
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    inner_args, inner_kwargs = tree_map(lambda x: x.held if isinstance(x, Elsewhere) else x, (args, kwargs))
    out = func(*inner_args, **inner_kwargs)
    if name in ("aten::copy_",):
        return args[0]
    written = {id(x.held): x for x in flat if isinstance(x, Elsewhere)}

    def wrap(x: Any) -> Any:
        if not isinstance(x, Tensor) or not target or isinstance(x, Elsewhere):
            return x
        return written[id(x)] if id(x) in written else Elsewhere(x)

    return tree_map(wrap, out)


class _Everywhere(TorchDispatchMode):
    """Factories that are asked for the second device make their tensors there."""

    def __torch_dispatch__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def _with_tensors(index: Any) -> Any:
    """An index whose lists and arrays are tensors of the second device."""
    if isinstance(index, tuple):
        return tuple(_with_tensors(part) for part in index)
    return torch.as_tensor(index).to(device()) if isinstance(index, (list, np.ndarray)) else index


class _FromData(TorchFunctionMode):
    """Tensors made from Python's or NumPy's data are made on the CPU, then moved: PyTorch copies those out of reach of
    a dispatch mode."""

    def __torch_function__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        asked = kwargs.get("device")
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[0], Elsewhere):
            args = (args[0], _with_tensors(args[1]), *args[2:])
        if func in _FROM_DATA and asked is not None and torch.device(asked).type == device().type:
            wanted = kwargs.pop("requires_grad", False)
            return func(*args, **{**kwargs, "device": "cpu"}).to(device()).requires_grad_(wanted)
        return func(*args, **kwargs)


@contextmanager
def second_device() -> Iterator[torch.device]:
    """Within the block ``torch.zeros(3, device=DEVICE)``, ``x.to(device())`` and ``x.cpu()`` work."""
    place = device()
    with _FromData(), _Everywhere():
        yield place
