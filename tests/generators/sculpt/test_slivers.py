import numpy as np

from v2m4.generators.sculpt.slivers import without_slivers
from v2m4.settings import SliverSettings

SIDE = 64


def two_legs(strip: int) -> tuple[np.ndarray, np.ndarray]:
    """A near leg, and beside it a strip of a far one, so many cells wide."""
    inside = np.zeros((SIDE, SIDE), bool)
    inside[10:50, 20 : 40 + strip] = True
    entry = np.zeros((SIDE, SIDE), np.float32)
    entry[:, 40:] = 0.3
    return entry, inside


def test_a_strip_beside_a_step_is_a_sliver():
    entry, inside = two_legs(strip=0)
    more, wider = two_legs(strip=1)
    settings = SliverSettings(least=0.05)
    assert (without_slivers(more, wider, settings) == inside).all()
    assert (without_slivers(entry, inside, settings) == inside).all()


def test_what_shows_well_keeps_its_depth():
    entry, inside = two_legs(strip=10)
    assert (without_slivers(entry, inside, SliverSettings(least=0.05)) == inside).all()


def test_a_strip_on_a_slope_is_none():
    inside = two_legs(strip=1)[1]
    slope = np.linspace(0, 2.9, SIDE, dtype=np.float32)[None].repeat(SIDE, 0)
    assert (without_slivers(slope, inside, SliverSettings(least=0.05)) == inside).all()


def test_where_nothing_hangs_together_all_counts():
    inside = two_legs(strip=1)[1]
    steep = np.linspace(0, 3.5, SIDE, dtype=np.float32)[None].repeat(SIDE, 0)
    assert (without_slivers(steep, inside, SliverSettings(least=0.05)) == inside).all()


def test_none_is_a_sliver_at_least_zero():
    entry, inside = two_legs(strip=1)
    assert (without_slivers(entry, inside, SliverSettings(least=0)) == inside).all()


def test_specks_side_by_side_are_one_sliver_and_alone_are_none():
    entry, inside = two_legs(strip=1)
    entry[::2, 40] = 0.6  # no two cells of the strip hang together
    settings = SliverSettings(least=0.05)
    assert not without_slivers(entry, inside, settings)[:, 40].any()
    entry[:, 40] = 0
    entry[20, 30] = 0.5
    assert (without_slivers(entry, inside, settings) == inside).all()
