"""Files appear whole or not at all."""

import pytest

from v2m4.errors import V2M4Error
from v2m4.files import replacing, write_atomically


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
