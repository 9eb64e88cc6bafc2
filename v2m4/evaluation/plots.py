"""Curves as SVG pictures, by matplotlib (extra `evaluation`)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from v2m4.errors import V2M4Error


def curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str, *, logarithmic: bool = False
) -> bytes:
    """An SVG of named lines (x values, y values) with titles of both axes. Raises V2M4Error without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise V2M4Error('Plots are drawn by matplotlib. Run `pip install "v2m4[evaluation]"`.') from error
    from matplotlib import rc_context

    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for name, (xs, ys) in lines.items():
        axes.plot(xs, ys, marker="." if len(xs) < 64 else "", label=name.lstrip("_"))  # it hides names that begin so
    axes.set(xlabel=x, ylabel=y)
    if logarithmic:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        axes.legend(frameon=False)
    stream = io.BytesIO()
    # Without date and random ids the same numbers give the same file.
    with rc_context({"svg.hashsalt": "v2m4", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
