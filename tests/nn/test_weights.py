"""Checkpoints: what loads, and which sentence a user reads when something does not."""

import argparse
import errno
import pickle

import httpx
import pytest
import torch
from huggingface_hub import errors
from huggingface_hub.utils import are_progress_bars_disabled
from safetensors.torch import save_file
from torch import nn

from v2m4.errors import V2M4Error
from v2m4.nn.weights import (
    Renaming,
    fetch,
    fetch_url,
    load_strictly,
    memory_guard,
    read_state_dict,
    renamed,
    torch_cache,
    transport_error,
)

REVISION = "0123456789abcdef0123456789abcdef01234567"


def response(status: int) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "https://hub.example/file"))


def hub_raises(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def download(*args: object, **options: object) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)


def test_fetch_asks_the_hub_for_exactly_the_pinned_revision(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    asked = {}

    def download(repo: str, filename: str, revision: str) -> str:
        asked.update(repo=repo, filename=filename, revision=revision)
        return str(tmp_path / filename)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert fetch("owner/model", "model.safetensors", REVISION, "dust3r") == tmp_path / "model.safetensors"
    assert asked == {"repo": "owner/model", "filename": "model.safetensors", "revision": REVISION}


@pytest.mark.parametrize("progress", [False, True])
def test_a_download_within_a_run_says_so_in_a_line_and_draws_no_bar(
    progress: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path
) -> None:
    shown = []

    def download(*arguments: object, **options: object) -> str:
        shown.append(not are_progress_bars_disabled())
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    before = are_progress_bars_disabled()
    fetch("owner/model", "model.safetensors", REVISION, "dust3r", progress)
    assert shown == [progress] and are_progress_bars_disabled() == before
    assert ("dust3r: downloading owner/model/model.safetensors" in caplog.text) == (not progress)


def test_fetch_takes_a_local_folder_without_touching_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    hub_raises(monkeypatch, AssertionError("the Hub was asked"))
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert fetch(str(tmp_path), "model.safetensors", REVISION, "vggt") == tmp_path / "model.safetensors"
    with pytest.raises(V2M4Error, match="vggt.*has no model.pt"):
        fetch(str(tmp_path), "model.pt", REVISION, "vggt")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errors.GatedRepoError("gated", response=response(403)), "vggt: owner/model is gated.*hf auth login"),
        (
            errors.RepositoryNotFoundError("gone", response=response(404)),
            "vggt: the Hub has no public repository",
        ),
        (errors.RevisionNotFoundError("gone", response=response(404)), "vggt: the Hub does not hold"),
        (errors.RemoteEntryNotFoundError("gone", response=response(404)), "vggt: the Hub does not hold"),
        (errors.LocalEntryNotFoundError("offline"), "vggt: .*cannot be reached.*Connect"),
        (transport_error()("no route"), "vggt: .*cannot be reached.*Connect"),
        (errors.HfHubHTTPError("busy", response=response(503)), "vggt: the Hub refused.*busy"),
        (OSError(errno.ENOSPC, "no space"), "vggt: the disk is full"),
        (OSError("Consistency check failed"), "vggt: downloading.*Consistency check failed.*Run again"),
        (errors.HFValidationError("bad name"), "neither a folder"),
    ],
)
def test_a_failed_download_names_the_plug_and_the_way_out(monkeypatch, error: Exception, sentence: str) -> None:
    hub_raises(monkeypatch, error)
    with pytest.raises(V2M4Error, match=sentence):
        fetch("owner/model", "model.safetensors", REVISION, "vggt")


def test_both_checkpoint_formats_read_back_the_same_tensors(tmp_path) -> None:
    state = {"a.weight": torch.randn(2, 3), "a.bias": torch.randn(2)}
    save_file(state, tmp_path / "m.safetensors")
    torch.save({"args": argparse.Namespace(lr=1.0), "model": state, "epoch": 3}, tmp_path / "m.pth")
    for name in ("m.safetensors", "m.pth"):
        read = read_state_dict(tmp_path / name, "dust3r")
        assert read.keys() == state.keys()
        assert all(torch.equal(read[key], state[key]) for key in state)


@pytest.mark.parametrize("name", ["m.safetensors", "m.pth"])
def test_a_truncated_download_says_to_delete_it(tmp_path, name: str) -> None:
    state = {"weight": torch.randn(64, 64)}
    if name.endswith("pth"):
        torch.save(state, tmp_path / name)
    else:
        save_file(state, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(V2M4Error, match=r"dust3r: .*truncated.*Delete it"):
        read_state_dict(tmp_path / name, "dust3r")


class Trap:
    def __reduce__(self):
        return (print, ("code of the checkpoint ran",))


def test_a_checkpoint_with_code_inside_is_not_executed(tmp_path, capsys) -> None:
    with open(tmp_path / "m.pth", "wb") as file:
        pickle.dump({"weight": Trap()}, file, protocol=2)
    with pytest.raises(V2M4Error, match="more than weights"):
        read_state_dict(tmp_path / "m.pth", "dust3r")
    assert "ran" not in capsys.readouterr().out


def test_missing_and_foreign_files_are_refused(tmp_path) -> None:
    with pytest.raises(V2M4Error, match="no checkpoint at"):
        read_state_dict(tmp_path / "absent.safetensors", "lpips")
    torch.save({"epoch": 3}, tmp_path / "m.pth")
    with pytest.raises(V2M4Error, match="no table of weights"):
        read_state_dict(tmp_path / "m.pth", "lpips")


def test_a_matching_state_dict_is_copied_in() -> None:
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    load_strictly(target, source.state_dict(), "vggt")
    assert torch.equal(source.weight, target.weight)


def test_a_module_without_memory_takes_the_tensors_themselves_in_its_own_formats() -> None:
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2).half())
    state = {name: torch.rand(tensor.shape) for name, tensor in module.state_dict().items()}
    load_strictly(module, state, "plug", assign=True)
    assert module[0].weight.data_ptr() == state["0.weight"].data_ptr()
    assert module[1].weight.dtype == torch.float16
    torch.testing.assert_close(module[1].bias, state["1.bias"].half())


def test_an_aliased_name_may_stand_alone_or_beside_the_own_one() -> None:
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    alone = {"w": source.weight.detach(), "bias": source.bias.detach()}
    load_strictly(target, alone, "dust3r", aliases={"w": "weight"})
    assert torch.equal(source.weight, target.weight)
    target = nn.Linear(3, 2)
    load_strictly(target, {**source.state_dict(), "w": torch.zeros(2, 3)}, "dust3r", aliases={"w": "weight"})
    assert torch.equal(source.weight, target.weight)


def test_a_wrong_checkpoint_names_the_keys_that_differ() -> None:
    before = nn.Linear(3, 2)
    kept = before.weight.clone()
    with pytest.raises(V2M4Error) as caught:
        load_strictly(before, {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)}, "vggt")
    text = str(caught.value)
    assert "vggt" in text
    assert "1 missing: bias" in text
    assert "1 unknown: extra" in text
    assert "weight is 2x4, not 2x3" in text
    assert torch.equal(before.weight, kept)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: (100 * t).to(torch.int8), "int8, not float32"),
        (lambda t: t.to(torch.complex64), "complex64"),
        (lambda t: t.to_sparse(), "sparse float32"),
    ],
)
@pytest.mark.parametrize("assign", [False, True])
def test_numbers_that_are_not_the_weights_themselves_are_refused(change, words: str, assign: bool) -> None:
    state = {name: change(tensor) for name, tensor in nn.Linear(4, 4).state_dict().items()}
    with pytest.raises(V2M4Error, match=f"2 in another number format: weight is {words}"):
        load_strictly(nn.Linear(4, 4, device="meta" if assign else "cpu"), state, "vggt", assign=assign)


@pytest.mark.parametrize("content", [{3: torch.zeros(1)}, {"weight": torch.zeros(1, device="meta")}])
def test_names_that_are_no_words_and_tensors_without_numbers_are_no_table_of_weights(tmp_path, content) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(V2M4Error, match="no table of weights"):
        read_state_dict(tmp_path / "a.pt", "vggt")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    ],
)
def test_too_little_memory_becomes_a_sentence(error: BaseException) -> None:
    with pytest.raises(V2M4Error, match="dust3r: .*memory is too small"), memory_guard("dust3r"):
        raise error


def test_other_errors_pass_through_the_memory_guard() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), memory_guard("dust3r"):
        raise RuntimeError("shapes differ")


def test_a_file_from_elsewhere_goes_to_torchs_cache_and_is_fetched_once(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    source = tmp_path / "source.bin"
    source.write_bytes(b"weights")
    path = fetch_url(source.as_uri(), "kept.bin", "lpips")
    assert path == torch_cache("kept.bin")
    assert path.read_bytes() == b"weights"
    source.unlink()
    assert fetch_url(source.as_uri(), "kept.bin", "lpips") == path


def test_a_file_with_another_checksum_is_not_kept(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "source.bin").write_bytes(b"something else")
    with pytest.raises(V2M4Error, match="lpips: .*damaged or not the expected file"):
        fetch_url((tmp_path / "source.bin").as_uri(), "kept.bin", "lpips", "397923af")
    assert not any(torch_cache("kept.bin").parent.iterdir())


def test_an_address_that_cannot_be_reached_names_the_place_for_the_file(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(V2M4Error, match=r"lpips: could not download .*put the file at .*kept\.bin"):
        fetch_url((tmp_path / "absent").as_uri(), "kept.bin", "lpips")


RULES = (
    Renaming(r"(\d+)\.q\.(\w+)", r"block.\1.qk.\2", 0, 2),
    Renaming(r"(\d+)\.k\.(\w+)", r"block.\1.qk.\2", 1, 2),
    Renaming(r"(\d+)\.out\.(\w+)", r"block.\1.proj.\2"),
)


def test_names_are_translated_and_parts_stacked_in_order() -> None:
    given = {"0.k.weight": torch.full((2, 3), 2.0), "0.q.weight": torch.ones(2, 3), "0.out.bias": torch.zeros(3)}
    found = renamed(given, RULES)
    assert set(found) == {"block.0.qk.weight", "block.0.proj.bias"}
    assert found["block.0.qk.weight"][:, 0].tolist() == [1.0, 1.0, 2.0, 2.0]


def test_unknown_names_and_incomplete_stacks_are_left_to_strict_loading() -> None:
    given = {"0.q.weight": torch.ones(2, 3), "1.q.weight": torch.ones(2, 3), "1.k.weight": torch.ones(2, 4)}
    assert set(renamed({**given, "extra": torch.ones(1)}, RULES)) == {*given, "extra"}
