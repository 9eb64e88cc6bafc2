"""Plugs: what can fill a port (generator, stereo, perceptual, matting), and whether it can run here.

A plug is declared as data, so that listing plugs, their licences and what they lack imports nothing heavy. The
class itself is imported when the plug is created.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from v2m4.errors import V2M4Error


@dataclass(frozen=True)
class Plug:
    """One implementation of a port.

    ``target`` is ``"module:Class"``. ``weights`` are ``(repository, file, revision)`` triples on the Hugging Face
    Hub, all of which are needed; ``torch_files`` are names of checkpoints in PyTorch's hub cache, for weights that
    are published elsewhere. ``preference`` orders what ``auto`` tries: the highest one that is ready wins.
    ``bring`` is the command or step that supplies what is missing. ``notice`` is shown wherever the plug can be chosen:
    what its licence forbids to some users.
    """

    port: str
    name: str
    target: str
    summary: str
    licence: str
    commercial: bool
    preference: int = 0
    packages: tuple[str, ...] = ()
    weights: tuple[tuple[str, str, str], ...] = ()
    torch_files: tuple[str, ...] = ()
    needs_gpu: bool = False
    memory_gb: float = 0.0
    bring: str = ""
    notice: str = ""

    def missing(self) -> list[str]:
        """What this machine lacks to run the plug, as short phrases; empty when it can run."""
        lacks = [f"package {p}" for p in self.packages if importlib.util.find_spec(p) is None]
        if self.needs_gpu and not _has_gpu():
            lacks.append("a CUDA GPU")
        lacks += [f"weights {name}" for name in self._absent_weights() + self._absent_torch_files()]
        return lacks

    def _absent_weights(self) -> list[str]:
        if not self.weights:
            return []
        from huggingface_hub import try_to_load_from_cache

        absent = {
            repo
            for repo, name, revision in self.weights
            if not isinstance(try_to_load_from_cache(repo, name, revision=revision), str)
        }
        return sorted(absent)

    def _absent_torch_files(self) -> list[str]:
        if not self.torch_files:
            return []
        from v2m4.nn.weights import torch_cache

        return [name for name in self.torch_files if not torch_cache(name).is_file()]

    def create(self, **options: Any) -> Any:
        """Import and build the plug."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)(**options)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def choose(plugs: Mapping[str, Plug], name: str, *, commercial_use: bool = False) -> Plug:
    """The plug called ``name``, or for ``"auto"`` the most preferred one that is ready here.

    With ``commercial_use`` a plug whose licence forbids it is refused by name and skipped by ``auto``. A named
    plug is returned even if weights are not yet in the cache, since loading it will download them.
    """
    if name != "auto":
        if name not in plugs:
            port = next(iter(plugs.values())).port
            raise V2M4Error(f"There is no {port} called “{name}”. Choose one of: {', '.join(plugs)}, or auto.")
        plug = plugs[name]
        if commercial_use and not plug.commercial:
            raise V2M4Error(
                f"The {plug.port} “{name}” may not be used commercially ({plug.licence}). "
                f"Drop --commercial-use or choose another {plug.port}."
            )
        return plug
    for plug in sorted(plugs.values(), key=lambda p: -p.preference):
        if plug.preference >= 0 and (plug.commercial or not commercial_use) and not plug.missing():
            return plug
    raise V2M4Error(f"No {next(iter(plugs.values())).port} can run here; `v2m4 doctor` says what each one lacks.")
