"""Tables of numbers, written as Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import csv
import io
import math
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
}


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
        notes = [f"- {note}" for note in self.notes]
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
        """Comma-separated values; notes follow as lines that begin with #."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([self.columns, *(["" if c == ABSENT else c for c in row] for row in self.rows)])
        return stream.getvalue() + "".join(f"# {note}\n" for note in self.notes)

    @staticmethod
    def _markdown_row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


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
    """A row per frame, of the measures that have a value for each."""
    names = [name for name, score in one.scores.items() if score.per_frame]
    rows = tuple(
        (str(k), *(shown(name, one.scores[name].per_frame[k]) for name in names))
        for k in range(max((len(one.scores[name].per_frame) for name in names), default=0))
        if all(k < len(one.scores[name].per_frame) for name in names)
    )
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
    return "".join(_LATEX.get(character, character) for character in text)
