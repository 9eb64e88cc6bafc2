"""Loading networks strictly from official checkpoints, with a sentence for what is not supported."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from torch import Tensor, nn

from v2m4.errors import V2M4Error
from v2m4.nn.configs import understood
from v2m4.nn.weights import Renaming, load_strictly, renamed

Network = TypeVar("Network", bound=nn.Module)


def load_network(
    make: Callable[[], Network], state: Mapping[str, Tensor], rules: tuple[Renaming, ...], plug: str, dtype: torch.dtype
) -> Network:
    """The network that `make` makes, on the CPU in `dtype`, with the weights `state`, every one of which must fit."""
    with understood(plug), torch.device("meta"):
        network = make().to(dtype)
    network.to_empty(device="cpu")
    load_strictly(network, renamed(state, rules), plug)
    return network.eval().requires_grad_(False)


def part_of(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under `prefix`, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}


def without(state: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """`state` without the parts of a checkpoint that image to shape does not use."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(prefixes)}


def refuse_foreign(state: Mapping[str, Tensor], known: tuple[str, ...], path: Path, plug: str) -> None:
    """Raise V2M4Error if a checkpoint has tensors outside its `known` parts."""
    foreign = [name for name in state if not name.startswith(known)]
    if foreign:
        raise V2M4Error(
            f"{plug}: {path} holds tensors that are unknown here ({', '.join(foreign[:4])}). "
            f"Give the official checkpoint of {plug}."
        )


def read_config(path: Path, plug: str) -> dict[str, Any]:
    """The mapping in a JSON or YAML file. Raises V2M4Error if it holds none."""
    try:
        text = path.read_text()
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0][:200]
        raise V2M4Error(
            f"{plug}: {path} cannot be read ({reason}). Delete it and run again to download it anew."
        ) from error
    if not isinstance(content, dict):
        raise V2M4Error(f"{plug}: {path} is not a configuration. Delete it and run again to download it anew.")
    return content


def chosen(
    config: Mapping[str, Any],
    used: Mapping[str, str],
    only: Mapping[str, Any],
    ignored: tuple[str, ...],
    what: str,
) -> dict[str, Any]:
    """The entries of `config` that a network uses, under our names (`used`: theirs to ours).

    `only` lists options that are accepted at one value alone; a missing one counts as having it. Raises V2M4Error for
    any other value, and for entries that are neither used nor `ignored`, since they may change the network.
    """
    for name, value in only.items():
        if config.get(name, value) != value:
            raise V2M4Error(
                f"{what}: this checkpoint has {name} = {config[name]!r}, and only {value!r} is supported. "
                f"Use the released checkpoint or another generator."
            )
    unknown = [name for name in config if name not in used and name not in only and name not in ignored]
    if unknown:
        raise V2M4Error(
            f"{what}: this checkpoint's configuration has entries that are unknown here ({', '.join(unknown[:4])}). "
            f"Use the released checkpoint or another generator."
        )
    return {ours: config[theirs] for theirs, ours in used.items() if theirs in config}


def same(names: tuple[str, ...]) -> dict[str, str]:
    """For `chosen`: entries that have their name here too."""
    return dict(zip(names, names, strict=True))
