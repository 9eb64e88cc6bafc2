"""The public names, and what they cost."""

import os
import subprocess
import sys

import pytest

import v2m4


@pytest.mark.parametrize("name", v2m4.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(v2m4, name).__doc__
    assert name in dir(v2m4)


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        v2m4.magic  # noqa: B018


@pytest.mark.parametrize(
    ("variable", "given", "kept"),
    [
        ("OMP_WAIT_POLICY", None, "PASSIVE"),
        ("OMP_WAIT_POLICY", "ACTIVE", "ACTIVE"),
        ("OPENBLAS_NUM_THREADS", None, "1"),
        ("OPENBLAS_NUM_THREADS", "2", "2"),
    ],
)
def test_threads_that_wait_leave_the_core_to_others_unless_asked_otherwise(variable, given, kept):
    environment = {name: value for name, value in os.environ.items() if name != variable}
    environment |= {variable: given} if given else {}
    words = [sys.executable, "-c", f"import v2m4, os; print(os.environ['{variable}'])"]
    assert subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.strip() == kept
