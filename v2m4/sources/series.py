"""Which pictures of a folder make up one series, by their names."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate, pairwise
from pathlib import PurePosixPath

_MOST_MISSING = 3  # numbers per picture; a series with more is not one that lacks frames
_SHARED_NUMBERS = 0.5  # share of a series' numbers that another must have too for the two to run side by side


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts frame2 before frame10."""
    return [(0, int(t), "") if t.isdigit() else (1, 0, t.lower()) for t in re.split(r"(\d+)", name) if t]


def series_of(names: Iterable[str]) -> dict[str, list[str]]:
    """The series among pictures, under patterns such as ``mask_*.png``; one pattern ``*`` where nothing tells.

    Names in other folders, with other words around their number, or of another kind with the same number are another
    series. So are names
    with a number before the last one (``cam1_0001``) if the series then count through the same frames; times of day
    (``10-30-05``) are not. Pictures without a number, and such as stand alone, belong to none if there is a series.
    """
    patterns: dict[str, list[str]] = defaultdict(list)
    for name in names:
        patterns[_worded(name)].append(name)
    found: dict[str, list[str]] = {}
    for pattern, members in _of_several_kinds(patterns).items():
        if "*" in PurePosixPath(pattern).name and len(members) > 1:
            found |= _side_by_side(pattern, members)
    return found or {"*": [name for members in patterns.values() for name in members]}


def places_in_time(names: list[str]) -> list[int]:
    """When each picture of an ordered series is shown, in frames from the first, by the numbers in their names.

    Frames that are missing leave their time empty; a series that counts by twos is a whole one. Where the names hold
    several numbers that change, or most frames would be missing, nothing is taken to be.
    """
    numbers = [tuple(int(n) for n in re.findall(r"\d+", PurePosixPath(name).stem)) for name in names]
    whole = list(range(len(names)))
    if len({len(n) for n in numbers}) > 1 or not numbers[0]:
        return whole
    changing = [values for values in zip(*numbers, strict=True) if len(set(values)) > 1]
    if len(changing) != 1:
        return whole
    steps = [after - before for before, after in pairwise(changing[0])]
    if min(steps) < 1:
        return whole
    unit = math.gcd(*steps)
    places = [0, *(n // unit for n in accumulate(steps))]
    return places if places[-1] < _MOST_MISSING * len(names) else whole


def _of_several_kinds(patterns: dict[str, list[str]]) -> dict[str, list[str]]:
    """The patterns, those that differ by the kind of file only as one where each picture has a number of its own."""
    together: dict[str, list[str]] = defaultdict(list)
    for pattern in patterns:
        together[str(PurePosixPath(pattern).with_suffix(""))].append(pattern)
    merged: dict[str, list[str]] = {}
    for kinds in together.values():
        members = [name for kind in kinds for name in patterns[kind]]
        stems = {str(PurePosixPath(name).with_suffix("")) for name in members}
        if len(stems) == len(members):
            merged[kinds[0]] = members
        else:
            merged |= {kind: patterns[kind] for kind in kinds}
    return merged


def _worded(name: str) -> str:
    """The name with a star for every number in it (a folder's name stays as it is), its kind in small letters."""
    path = PurePosixPath(name)
    return str(path.with_name(re.sub(r"\d+", "*", path.stem) + path.suffix.lower()))


def _side_by_side(pattern: str, members: list[str]) -> dict[str, list[str]]:
    """The members as they are, or apart by what stands before their last number."""
    stem = PurePosixPath(pattern).stem
    time_of_day = stem.count("*") > 2 and not re.search(r"[^\W\d_]", stem.partition("*")[2].rpartition("*")[0])
    if stem.count("*") < 2 or time_of_day:
        return {pattern: members}
    apart: dict[str, list[str]] = defaultdict(list)
    numbers: dict[str, set[int]] = defaultdict(set)
    for name in members:
        path = PurePosixPath(name)
        before, number, after = re.fullmatch(r"(.*?)(\d+)(\D*)", path.stem).groups()  # type: ignore[union-attr]
        key = str(path.with_name(f"{before}*{after}{path.suffix.lower()}"))
        apart[key].append(name)
        numbers[key].add(int(number))
    first, *others = numbers.values()
    parallel = [len(first & other) > _SHARED_NUMBERS * min(len(first), len(other)) for other in others]
    return dict(apart) if parallel and all(parallel) and min(map(len, apart.values())) > 1 else {pattern: members}
