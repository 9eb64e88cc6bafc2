"""Files appear whole or not at all."""

import errno
from pathlib import Path

import pytest

from v2m4.errors import V2M4Error
from v2m4.files import replacing, write_atomically, writing


def test_folders_are_made_and_bytes_written(tmp_path):
    write_atomically(tmp_path / "a" / "b.bin", b"data")

    assert (tmp_path / "a" / "b.bin").read_bytes() == b"data"


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "result.txt"
    target.write_text("old")

    def half() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        half()

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(V2M4Error, match="Choose another folder"):
        write_atomically(tmp_path / "file" / "below.txt", b"")


def test_a_full_disk_is_a_sentence_with_the_place_and_the_space(tmp_path):
    def full() -> None:
        with replacing(tmp_path / "deep" / "mesh.npz"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(V2M4Error, match=r"Cannot write .*mesh\.npz: No space left on device; [\d.]+ [kMG]B are free"):
        full()
    assert not list((tmp_path / "deep").iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_device_is_a_sentence():
    with (
        pytest.raises(V2M4Error, match="No space left"),
        writing(Path("/dev/full")),
        Path("/dev/full").open("w") as out,
    ):
        out.write("x" * 100_000)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place that is no disk")
def test_the_space_left_is_not_told_of_what_is_no_disk():
    with pytest.raises(V2M4Error, match=r"^Cannot write /proc/mine/x: [^;]*\. Choose another folder"):
        write_atomically(Path("/proc/mine/x"), b"")
