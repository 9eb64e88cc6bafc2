"""Plugs: what can fill a port (generator, stereo, perceptual, matting), and whether it can run here.

A plug is declared as data, so that listing plugs, their licences and what they lack imports nothing heavy. The
class itself is imported when the plug is created.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from v2m4.errors import V2M4Error
from v2m4.settings import Settings

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
P = TypeVar("P", bound="Plug[Any]")


@dataclass(frozen=True)
class Plug(Generic[T]):
    """One implementation of a port, whose Protocol is ``T``.

    ``target`` is ``"module:Class"``. ``weights`` are ``(repository, file, revision)`` triples on the Hugging Face
    Hub, all of which are needed; ``torch_files`` are names of checkpoints in PyTorch's hub cache, for weights that
    are published elsewhere. ``preference`` orders what ``auto`` tries: the highest one that is ready wins.
    ``check`` is a function ``"module:name"`` that tells whether weights which a package keeps for itself are there.
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
    check: str = ""
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
        if self.check and not lacks and not _target(self.check)():
            lacks.append("its weights")
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

    @property
    def revisions(self) -> tuple[str, ...]:
        """The pinned weights, as ``repository/file@revision`` or the name of a PyTorch file."""
        return (*(f"{repo}/{file}@{revision}" for repo, file, revision in self.weights), *self.torch_files)

    def load(self) -> Any:
        """The plug's class, imported."""
        return _target(self.target)

    def create(self, settings: Settings, device: torch.device) -> T:
        """Import the plug and build it for a run's settings, by its class method ``from_settings``."""
        plug: T = self.load().from_settings(settings, device)
        return plug


def by_name(*plugs: P) -> dict[str, P]:
    """The plugs of a port under their names."""
    return {plug.name: plug for plug in plugs}


def _target(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def choose(plugs: Mapping[str, P], name: str, *, commercial_use: bool = False) -> P:
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
