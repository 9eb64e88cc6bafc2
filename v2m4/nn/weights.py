"""Checkpoints of the learned plugs: fetch from the Hub, read, load with no key left over, and say plainly what failed.

Every learned plug goes through these four functions, so that an unreachable Hub, a cut-off download, a wrong
checkpoint or too small a graphics card always ends in one sentence that names the plug and the way out.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from v2m4.errors import V2M4Error

_log = logging.getLogger(__name__)
_KEYS_SHOWN = 4
_PROBE_S = 8.0
_WRAPPERS = ("state_dict", "model", "module")


def fetch(repo: str, filename: str, revision: str, plug: str, progress: bool = False) -> Path:
    """Path of `filename` of the Hub repository `repo` at the pinned `revision`, downloaded once to the Hub cache.

    `repo` may also be a folder on this machine that holds the file; `revision` then plays no part. `progress` shows a
    bar; without it a line tells that a file is downloaded, since a bar of the library's would run into a run's own.
    What the cache holds is taken without asking the Hub, also where a revision is a branch. Raises V2M4Error when the
    Hub cannot be reached, refuses (gated, private), lacks the file, or the disk is full.
    """
    # 1. A folder on this machine.
    folder = Path(repo).expanduser()
    if folder.is_dir():
        local = folder / filename
        if not local.is_file():
            raise V2M4Error(
                f"{plug}: the folder {folder} has no {filename}. Put the checkpoint there, or name its Hub repository."
            )
        return local

    from huggingface_hub import errors, hf_hub_download, try_to_load_from_cache

    where = f"{repo}/{filename} at revision {revision[:12]}"
    # 2. The Hub's cache, else a download into it.
    try:
        cached = try_to_load_from_cache(repo, filename, revision=revision)
        if isinstance(cached, str):
            return Path(cached)
        with _bars(progress), _without_retries_told():
            if not progress:
                _log.warning("%s: downloading %s/%s, once", plug, repo, filename)
            return Path(hf_hub_download(repo, filename, revision=revision))
    # 3. What may go wrong, from the particular to the general.
    except errors.GatedRepoError as error:
        raise V2M4Error(
            f"{plug}: {repo} is gated. Accept its terms at https://huggingface.co/{repo} with your account, "
            f"then log in with `hf auth login` (or set HF_TOKEN) and run again."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise V2M4Error(
            f"{plug}: the Hub has no public repository {repo}. If it is private or gated, log in with `hf auth login`; "
            f"else choose another plug (`v2m4 doctor` lists those that can run)."
        ) from error
    except (errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError) as error:
        raise V2M4Error(
            f"{plug}: the Hub does not hold {where}. Name a revision that has it, or choose another plug."
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, transport_error()) as error:
        raise V2M4Error(
            f"{plug}: could not download {where}: the Hub cannot be reached and the file is not in its cache. "
            f"Connect to the network (unset HF_HUB_OFFLINE) and run again, or choose a plug that needs no weights."
        ) from error
    except errors.HfHubHTTPError as error:
        raise V2M4Error(
            f"{plug}: the Hub refused {where} ({_first_line(error)}). Wait a little and run again."
        ) from error
    except errors.HFValidationError as error:
        raise V2M4Error(
            f"{plug}: {repo!r} is neither a folder on this machine nor a Hub repository (owner/name). Correct it."
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise V2M4Error(
                f"{plug}: the disk is full, {where} does not fit. Free some space or point HF_HOME at a larger disk."
            ) from error
        raise V2M4Error(
            f"{plug}: downloading {where} failed ({_first_line(error)}). Run again; if it persists, check that the "
            f"Hub's cache folder (HF_HOME) can be written."
        ) from error


@contextmanager
def _bars(shown: bool) -> Iterator[None]:
    """The Hub library's progress bars, shown or not inside the block and as before after it."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if shown or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def _without_retries_told() -> Iterator[None]:
    """The Hub library's messages about its retries, kept back: what comes of them is told in a sentence."""
    chatty = logging.getLogger("huggingface_hub.utils._http")
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        yield
    finally:
        chatty.setLevel(level)


def is_offline() -> bool:
    """Whether the user switched downloads off (HF_HUB_OFFLINE)."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def hub_reachable() -> bool:
    """Whether the Hub answers at all, within a few seconds; the library itself would try for half a minute."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=_PROBE_S)
    except transport_error():
        return False
    return True


def transport_error() -> type[Exception]:
    """What the Hub library's HTTP client raises where the network fails; which client that is its version decides."""
    from huggingface_hub import get_session

    client = importlib.import_module(type(get_session()).__module__.partition(".")[0])
    kind: type[Exception] = getattr(client, "TransportError", OSError)
    return kind


def hub_cache() -> Path:
    """The folder in which the Hub's files are kept."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def torch_cache(filename: str) -> Path:
    """Where `fetch_url` keeps `filename`: among the checkpoints of PyTorch's hub cache (TORCH_HOME)."""
    return Path(torch.hub.get_dir()) / "checkpoints" / filename


def fetch_url(url: str, filename: str, plug: str, sha256_start: str = "", progress: bool = False) -> Path:
    """Path of the file at `url`, downloaded once to PyTorch's hub cache under `filename`; never half a file.

    For weights that are published outside the Hub. `sha256_start` are the first digits of the file's checksum, or
    empty; `progress` shows a bar. Raises V2M4Error when the address cannot be reached, the checksum differs, or the
    disk is full.
    """
    path = torch_cache(filename)
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256_start or None, progress=progress)
    except RuntimeError as error:
        raise V2M4Error(
            f"{plug}: what {url} sent is damaged or not the expected file ({_first_line(error)}). Run again."
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise V2M4Error(
                f"{plug}: the disk is full, {filename} does not fit. Free space or point TORCH_HOME at a larger disk."
            ) from error
        raise V2M4Error(
            f"{plug}: could not download {url} ({_first_line(error)}). Connect to the network and run again, "
            f"put the file at {path} yourself, or choose a plug that needs no weights."
        ) from error
    return path


def read_state_dict(path: Path | str, plug: str) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name, on the CPU: `.safetensors`, or a PyTorch file (`.pt`, `.pth`, `.bin`).

    PyTorch files are read with `weights_only=True`, so no code of theirs runs; a state dict kept under `model`,
    `state_dict` or `module` is unwrapped. Raises V2M4Error for a missing, truncated or foreign file.
    """
    path = Path(path)
    if not path.is_file():
        raise V2M4Error(f"{plug}: there is no checkpoint at {path}. Correct the path, or let the plug download it.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(str(path))
        else:
            # Training scripts of this field store their argparse options beside the weights: plain data.
            with torch.serialization.safe_globals([argparse.Namespace]):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except pickle.UnpicklingError as error:
        raise V2M4Error(
            f"{plug}: {path} holds more than weights, or is damaged, and was not opened. Delete it and run again to "
            f"download it anew, or give a file with tensors only."
        ) from error
    except Exception as error:
        raise V2M4Error(
            f"{plug}: the checkpoint {path} ({path.stat().st_size} bytes) cannot be read: it is truncated or not a "
            f"checkpoint ({_first_line(error)}). Delete it and run again to download it anew."
        ) from error
    return _unwrap(content, path, plug)


def load_strictly(
    module: nn.Module,
    state_dict: Mapping[str, Tensor],
    plug: str,
    aliases: Mapping[str, str] = {},
    *,
    assign: bool = False,
) -> None:
    """Copy `state_dict` into `module`; every key and shape must match, or V2M4Error says which do not.

    `aliases` maps further names under which a checkpoint may (also) list a tensor to the module's own name; where
    both names are present they must agree in shape, and the module's own name is the one used.

    ``assign``: ``module``, made on the meta device, takes the tensors themselves, in its own number formats: what a
    file maps into memory is then copied once, to where the module goes, and nothing is made that it replaces.
    """
    wanted = module.state_dict()
    given: dict[str, Tensor] = {}
    for name, tensor in state_dict.items():
        own = aliases.get(name, name)
        if own == name or own not in state_dict:
            given[own] = tensor
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    reshaped = [
        f"{name} is {_shape(tensor)}, not {_shape(wanted[name])}"
        for name, tensor in given.items()
        if name in wanted and tensor.shape != wanted[name].shape
    ]
    unfit = [
        f"{name} is {_format(tensor)}, not {str(wanted[name].dtype).removeprefix('torch.')}"
        for name, tensor in given.items()
        if name in wanted and not _convertible(tensor, wanted[name])
    ]
    differences = [
        f"{len(names)} {title}: {_listed(names)}"
        for title, names in (
            ("missing", missing),
            ("unknown", unexpected),
            ("of another shape", reshaped),
            ("in another number format", unfit),
        )
        if names
    ]
    if differences:
        raise V2M4Error(
            f"{plug}: this checkpoint belongs to another model. Of {len(wanted)} tensors, {'; '.join(differences)}. "
            f"Give the official checkpoint of {plug}, or leave the setting empty to download it."
        )
    if assign:
        given = {name: tensor.to(wanted[name].dtype) for name, tensor in given.items()}
    module.load_state_dict(given, strict=True, assign=assign)


@dataclass(frozen=True)
class Renaming:
    """One rule of `renamed`: names that `pattern` matches whole become `target` (a template of `re`).

    A tensor that our module stacks along its first axis is `part` (from 0) of `parts`.
    """

    pattern: str
    target: str
    part: int = 0
    parts: int = 1


def renamed(state_dict: Mapping[str, Tensor], rules: Sequence[Renaming]) -> dict[str, Tensor]:
    """`state_dict` under a module's own names; the first rule that matches a name counts.

    Names that no rule knows, and parts of a stack that is not complete, stay as they are for `load_strictly` to report.
    """
    found: dict[str, Tensor] = {}
    stacks: dict[str, dict[int, str]] = {}
    sizes: dict[str, int] = {}
    compiled = [(re.compile(rule.pattern), rule) for rule in rules]
    for name, tensor in state_dict.items():
        match, rule = next(((m, r) for p, r in compiled if (m := p.fullmatch(name))), (None, None))
        if match is None or rule is None:
            found[name] = tensor
        elif rule.parts == 1:
            found[match.expand(rule.target)] = tensor
        else:
            target = match.expand(rule.target)
            stacks.setdefault(target, {})[rule.part] = name
            sizes[target] = rule.parts
    for target, names in stacks.items():
        pieces = [state_dict[names[part]] for part in sorted(names)]
        if len(names) == sizes[target] and len({piece.shape[1:] for piece in pieces}) == 1:
            found[target] = torch.cat(pieces)
        else:
            found |= {name: state_dict[name] for name in names.values()}
    return found


@contextmanager
def memory_guard(plug: str) -> Iterator[None]:
    """Turn running out of memory (GPU or host) inside the block into a V2M4Error that names `plug` and the way out."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        free_gb = f"{torch.cuda.mem_get_info()[0] / 1e9:.1f} GB are free" if torch.cuda.is_available() else "it is full"
        raise V2M4Error(
            f"{plug}: the GPU's memory is too small ({free_gb}). Close other programs that use the GPU, lower the "
            f"image or batch size, or choose a lighter plug."
        ) from error
    except MemoryError as error:
        raise V2M4Error(_host_memory_sentence(plug)) from error
    except RuntimeError as error:
        if "not enough memory" not in str(error) and "can't allocate memory" not in str(error):
            raise
        raise V2M4Error(_host_memory_sentence(plug)) from error


def _host_memory_sentence(plug: str) -> str:
    return (
        f"{plug}: this machine's memory is too small. Close other programs, lower the image or batch size, "
        f"or choose a lighter plug."
    )


def _unwrap(content: Any, path: Path, plug: str) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(name, str) and _is_there(value) for name, value in content.items())
    ):
        raise V2M4Error(f"{plug}: {path} holds no table of weights. Give the official checkpoint of {plug}.")
    return dict(content)


def _is_there(value: Any) -> bool:
    """Whether a value is a tensor that holds numbers, and not only tells their shape."""
    return isinstance(value, Tensor) and not value.is_meta


def _convertible(tensor: Tensor, wanted: Tensor) -> bool:
    """Whether a checkpoint's numbers are the weights themselves, and not, say, levels that some scale belongs to."""
    plain = tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_complex())
    return plain and tensor.is_floating_point() == wanted.is_floating_point()


def _format(tensor: Tensor) -> str:
    kind = "" if tensor.layout == torch.strided else "sparse "
    return kind + str(tensor.dtype).removeprefix("torch.")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_KEYS_SHOWN])
    return shown if len(names) <= _KEYS_SHOWN else f"{shown} and {len(names) - _KEYS_SHOWN} more"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
