"""The public names, and what they cost."""

import pytest

import v2m4


@pytest.mark.parametrize("name", v2m4.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(v2m4, name).__doc__
    assert name in dir(v2m4)


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        v2m4.magic  # noqa: B018
