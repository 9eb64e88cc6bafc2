"""Tables of numbers, written as Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from v2m4.evaluation.scores import MEASURES, ClipScores, Scores, measured_names, weights_named

ABSENT = "–"
_ARROWS = {"up": "↑", "down": "↓"}
_LATEX = {
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
    "×": r"$\times$",
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
}
# What would be read as a mark or end the cell; an underscore within a word is none.
_MARKDOWN = re.compile(r"[\\`*<\[|]|(?<![^\W_])_|_(?![^\W_])")


@dataclass(frozen=True)
class Table:
    """A heading, columns, rows of words, and sentences to be read with it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """A GitHub table, numbers to the right, and its notes."""
        text = [self._markdown_row(self.columns)]
        text.append("|" + "|".join("---" if k == 0 else "---:" for k in range(len(self.columns))) + "|")
        text += [self._markdown_row(row) for row in self.rows]
        notes = [f"- {_one_line(note)}" for note in self.notes]
        return "\n".join([*text, *(["", *notes] if notes else [])]) + "\n"

    def latex(self) -> str:
        """A table environment for the package booktabs."""
        body = [" & ".join(map(_latex, row)) + r" \\" for row in self.rows]
        notes = " ".join(map(_latex, self.notes))
        lines = [
            r"\begin{table}",
            r"\centering",
            r"\begin{tabular}{l" + "r" * (len(self.columns) - 1) + "}",
            r"\toprule",
            " & ".join(map(_latex, self.columns)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{{_latex(self.title)}{'. ' + notes if notes else ''}}}",
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Comma-separated values; notes follow as lines that begin with “# ”, which no row does."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        rows = ([_one_line("" if c == ABSENT else c) for c in row] for row in self.rows)
        writer.writerows([self.columns, *([row[0].lstrip("# "), *row[1:]] for row in rows)])
        return stream.getvalue() + "".join(f"# {_one_line(note)}\n" for note in self.notes)

    @staticmethod
    def _markdown_row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_MARKDOWN.sub(r"\\\g<0>", _one_line(cell)) for cell in cells) + " |"


def score_table(scores: Scores) -> Table:
    """A row per result and, where there are several, one for all of them."""
    names = measured_names(scores.clips)
    if "fvd" in scores.overall:
        names = [name for name in MEASURES if name in names or name == "fvd"]
    rows = [(c.name, str(c.frames), *(shown(name, _value(c, name)) for name in names)) for c in scores.clips]
    if len(rows) > 1 or "fvd" in names:
        overall = (scores.overall[name].mean if name in scores.overall else math.nan for name in names)
        frames = str(sum(c.frames for c in scores.clips))
        rows.append(("all", frames, *(shown(name, value) for name, value in zip(names, overall, strict=True))))
    return Table(
        "Measures", ("Result", "Frames", *(heading(n) for n in names)), tuple(rows), tuple(weights_named(scores))
    )


def frame_table(one: ClipScores) -> Table:
    """A row per frame, of the measures that have values for frames; a dash where the truth has no pose then."""
    names = [name for name, score in one.scores.items() if score.per_frame]
    at = {name: {round(time, 3): k for k, time in enumerate(one.times_of(name))} for name in names}

    def cell(name: str, time: float) -> str:
        index = at[name].get(round(time, 3))
        return ABSENT if index is None else shown(name, one.scores[name].per_frame[index])

    rows = tuple((str(k), *(cell(name, time) for name in names)) for k, time in enumerate(one.times))
    return Table(one.name, ("Frame", *(heading(n) for n in names)), rows)


def heading(name: str) -> str:
    """The measure's title with an arrow to where it is better."""
    return MEASURES[name].title + _ARROWS[MEASURES[name].better]


def shown(name: str, value: float) -> str:
    """The value as tables show it; a dash where there is none."""
    return f"{value:.{MEASURES[name].digits}f}" if math.isfinite(value) else ABSENT


def _value(one: ClipScores, name: str) -> float:
    return one.scores[name].mean if name in one.scores else math.nan


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())
