"""Plugs: what can fill a port (generator, stereo, perceptual, matting), and whether it can run here.

A plug is declared as data, so that listing plugs, their licences and what they lack imports nothing heavy. The
class itself is imported when the plug is created.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar, cast

from v2m4.errors import V2M4Error
from v2m4.files import digest_of
from v2m4.settings import Settings

if TYPE_CHECKING:
    import torch

T_co = TypeVar("T_co", covariant=True)
_NAME = re.compile(r"\w[\w.-]*")
P = TypeVar("P", bound="Plug[object]")


class PlugClass(Protocol[T_co]):
    """A class that fills a port, whose Protocol is ``T_co``."""

    def from_settings(self, settings: Settings, device: torch.device) -> T_co:
        """The plug for a run's settings; a class method."""
        ...

    def __call__(self, *args: Any, **kwargs: Any) -> T_co:
        """The plug made from what its own constructor asks."""
        ...


@dataclass(frozen=True)
class Plug(Generic[T_co]):
    """One implementation of a port, whose Protocol is ``T_co``.

    ``target`` is ``"module:Class"``; tests/plug_types.py shows the type checker that the class fills the port.
    ``weights`` are ``(repository, file, revision)`` triples on the Hugging Face Hub, all of which are needed;
    ``torch_files`` are ``(name, URL, first digits of its SHA-256)`` of checkpoints in PyTorch's hub cache, for weights
    that are published elsewhere; the digits may be empty. ``sha256`` are ``(file, SHA-256)`` of weights for which these
    are known. ``preference`` orders what ``auto`` tries: the highest one that is ready wins.
    ``check`` is a function ``"module:name"`` that tells whether weights which a package keeps for itself are there, and
    ``supply`` one that fetches them. ``size_gb``: of all weights together. ``variants`` is a function that tells the
    weights which a run's settings choose, where that is not always the same. ``demands`` is one that raises V2M4Error
    for settings which lack what the plug must know, and ``reach`` one that does where what they name is not there
    or cannot be used.
    ``bring`` is a step that supplies what is missing beside weights. ``notice`` is shown wherever the plug can be
    chosen and when it runs: what its licence forbids to some users. ``distribution``: name and version of the package
    that declares it, where that is another one; filled in when it is found.
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
    torch_files: tuple[tuple[str, str, str], ...] = ()
    sha256: tuple[tuple[str, str], ...] = ()
    check: str = ""
    supply: str = ""
    size_gb: float = 0.0
    variants: str = ""
    demands: str = ""
    reach: str = ""
    needs_gpu: bool = False
    memory_gb: float = 0.0
    bring: str = ""
    notice: str = ""
    distribution: str = ""

    def missing(self) -> list[str]:
        """What this machine lacks to run the plug, as short phrases; empty when it can run."""
        lacks = [f"package {name}" for name in self.absent_packages()]
        if self.needs_gpu and not _has_gpu():
            lacks.append("a CUDA GPU")
        return lacks + self.absent_weights()

    def absent_packages(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]

    def absent_weights(self) -> list[str]:
        """The weights that it needs and that no cache holds, as short phrases. Asks no network."""
        absent = [f"weights {name}" for name in self._absent_from_hub() + self._absent_torch_files()]
        if self.check and not self.absent_packages() and not cast("Callable[[], bool]", _target(self.check))():
            absent.append("its weights")
        return absent

    def _absent_from_hub(self) -> list[str]:
        return sorted({repo for repo, name, revision in self.weights if cached(repo, name, revision) is None})

    def _absent_torch_files(self) -> list[str]:
        if not self.torch_files:
            return []
        from v2m4.nn.weights import torch_cache

        return [name for name, *_ in self.torch_files if not torch_cache(name).is_file()]

    def checksum(self, name: str) -> str:
        """The known SHA-256 of one of the weights' files; empty if none is."""
        return dict(self.sha256).get(name, "")

    @property
    def learned(self) -> bool:
        """Whether it needs weights that do not come with a package."""
        return bool(self.weights or self.torch_files or self.supply)

    @property
    def restriction(self) -> str:
        """What its licence forbids, in a few words; empty where it allows everybody everything."""
        return self.notice or ("" if self.commercial else "non-commercial use only")

    @property
    def remedy(self) -> str:
        """How to bring what it may lack."""
        size = f" ({self.size_gb:g} GB)" if self.size_gb else ""
        return "; ".join(filter(None, (self.bring, f"v2m4 download {self.name}{size}" if self.learned else "")))

    @property
    def unpinned(self) -> bool:
        """Whether any of its weights are taken as they are today, since no commit of theirs is known."""
        return any(not is_commit(revision) for *_, revision in self.weights)

    @property
    def revisions(self) -> tuple[str, ...]:
        """The weights, as ``repository/file@revision`` or the name of a PyTorch file. Where no revision is pinned, with
        the commit and digest of the file in the cache, once it is there."""
        named = (f"{repo}/{file}@{_known_as(repo, file, revision)}" for repo, file, revision in self.weights)
        return (*named, *(name for name, *_ in self.torch_files))

    def chosen_by(self, settings: Settings) -> Self:
        """The plug with the weights that a run's settings choose."""
        if not self.variants:
            return self
        choose_weights = cast("Callable[[Settings], tuple[tuple[str, str, str], ...]]", _target(self.variants))
        return replace(self, weights=choose_weights(settings))

    def check_demands(self, settings: Settings) -> None:
        """Raise V2M4Error if the settings lack what the plug must know."""
        if self.demands:
            cast("Callable[[Settings], None]", _target(self.demands))(settings)

    def check_reach(self, settings: Settings) -> None:
        """Raise V2M4Error if a server that the settings name is not there."""
        if self.reach:
            cast("Callable[[Settings], None]", _target(self.reach))(settings)

    def fetch_supply(self) -> None:
        """Fetch the weights that a package keeps for itself. Raises V2M4Error if they cannot be had."""
        if self.supply:
            cast("Callable[[], None]", _target(self.supply))()

    def load(self) -> PlugClass[T_co]:
        """The plug's class, imported."""
        return cast("PlugClass[T_co]", _target(self.target))

    def create(self, settings: Settings, device: torch.device) -> T_co:
        """Import the plug and build it for a run's settings, by its class method ``from_settings``."""
        with self.answering():
            return self.load().from_settings(settings, device)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Whatever another package's plug raises inside the block becomes a sentence that names it."""
        try:
            yield
        except V2M4Error:
            raise
        except (Exception, SystemExit) as error:
            if not self.distribution:
                raise
            raise self.failed(f"failed with {type(error).__name__}: {error}") from error

    def failed(self, how: str) -> V2M4Error:
        """The sentence about a plug that did not do what its port asks for: ``how`` goes on after its name."""
        whose = f" of the package {self.distribution}" if self.distribution else ""
        return V2M4Error(
            f"The {self.port} “{self.name}”{whose} {how}. Tell whoever made it, or choose another {self.port}."
        )


def by_name(*plugs: P) -> dict[str, P]:
    """The plugs of a port under their names."""
    return {plug.name: plug for plug in plugs}


def cached(repo: str, file: str, revision: str) -> Path | None:
    """Where the Hub's cache holds a file; None if it does not. Asks no network."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def is_commit(revision: str) -> bool:
    """Whether a revision is the full hash of a commit, which always names the same files."""
    return re.fullmatch("[0-9a-f]{40}", revision) is not None


def _known_as(repo: str, file: str, revision: str) -> str:
    """A revision, and for one that is not pinned the commit and digest of the file that the cache holds of it."""
    path = None if is_commit(revision) else cached(repo, file, revision)
    if path is None:
        return revision
    # .../snapshots/COMMIT/file leads to .../blobs/DIGEST, where the file system knows links.
    blob = path.resolve()
    digest = blob.name if blob.parent.name == "blobs" else digest_of(blob)
    return f"{revision}={path.parents[len(Path(file).parts) - 1].name}, digest {digest}"


def _target(name: str) -> object:
    module, _, attribute = name.partition(":")
    found: object = getattr(importlib.import_module(module), attribute)
    return found


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def third_party_plugs(group: str, own: Mapping[str, P], kind: type[P]) -> dict[str, P]:
    """The plugs of a ``kind`` that installed packages declare under the entry point ``group``, by name.

    A declaration that cannot be used (its package fails to import, it is of another kind, or its name is none or taken
    by one of our ``own``) is left out with a warning: somebody else's fault must not stop a run that does not ask for
    it.
    """
    plugs: dict[str, P] = {}
    port = next(iter(own.values())).port
    for entry in importlib.metadata.entry_points(group=group):
        where = f"The plug “{entry.name}” of the package {entry.dist.name if entry.dist else entry.value}"
        try:
            plug = entry.load()
        except (Exception, SystemExit) as error:  # a module that ends the program when it is imported, too
            warnings.warn(f"{where} cannot be imported ({type(error).__name__}: {error}) and is left out.")
            continue
        if not isinstance(plug, kind):
            warnings.warn(f"{where} is no {kind.__name__} but a {type(plug).__name__}, and is left out.")
        elif not (isinstance(plug.name, str) and _NAME.fullmatch(plug.name)) or plug.name == "auto":
            warnings.warn(f"{where} is called {plug.name!r}, which is no name for a plug, and is left out.")
        elif plug.port != port:
            warnings.warn(f"{where} is no {port} but a {plug.port}, and is left out.")
        elif plug.name in own or plug.name in plugs:
            warnings.warn(f"{where} has a name that is taken, {plug.name}, and is left out.")
        else:
            plugs[plug.name] = replace(
                plug, distribution=f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""
            )
    return plugs


def choose(plugs: Mapping[str, P], name: str, *, commercial_use: bool = False) -> P:
    """The plug called ``name``, or for ``"auto"`` the most preferred one that is ready here.

    With ``commercial_use`` a plug whose licence forbids it is refused by name and skipped by ``auto``. A named
    plug is returned even if weights are not yet in the cache: `v2m4.provision` brings them.
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
