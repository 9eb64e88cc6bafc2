"""The page's words: what the command line calls by a flag stands on the page under a label."""

from __future__ import annotations

import re

_LABELS = (
    (r"another --matting\.method", "another “Method of the mask”"),
    (r"--matting\.method (auto or motion|auto|motion)", r"another “Method of the mask” (\1)"),
    (r"--matting\.method", "“Method of the mask”"),
    (r"--video\.longest-side", "“longest side” under “Advanced”"),
    (r"--matting\.min-area", "“min area” under “Advanced”"),
    (r"--video\.start-s, --video\.end-s", "“From” and “To”"),
    (r"--video\.frame-step (\{?\w+\}?)", r"“Every n-th frame”: \1"),
    (r"closer keyframes \(--keyframes\.stride (\d+)\)", r"closer keyframes (“Keyframe gap”: \1)"),
    (r"a better generator \(v2m4 doctor lists them\)", "a better generator (“Mesh from” lists them)"),
    (r",?\s*or raise --video\.max-frames", ""),
    (r"Give it with --template MESH", "Give it under “A mesh of your own”"),
    (r"Drop --commercial-use or choose", "Choose"),
    (r"--template", "“A mesh of your own”"),
    (r"--generator(\.name)?", "“Mesh from”"),
    (r"--stereo", "“Depth and camera from”"),
    (r"--preset", "“Quality”"),
    (r"--device cpu", "“cpu”"),
    (r", or a folder of its frames, with at least two frames", " with at least two frames"),
    (r", or a folder or zip of [^.]* frames", ""),
    (r",? Choose another(?: folder)? with -o\.?", ""),
    (r", or install the network: pip install '[^']*'", ""),
    (r"`v2m4 doctor` says what each one lacks", "the page's menus say what each one lacks"),
)
_NAMES = (
    (r"^video\.start_s ", "“From” "),
    (r"^video\.end_s ", "“To” "),
    (r"^video\.frame_step ", "“Every n-th frame” "),
    (r"^keyframes\.stride ", "“Keyframe gap” "),
    (r"^seed ", "“Seed” "),
)


def page_words(sentence: str) -> str:
    """A V2M4Error's sentence as the page says it: flags and settings are called as they are labelled there."""
    return _replaced(_NAMES + _LABELS, sentence)


def api_words(sentence: str) -> str:
    """The same for a caller of the endpoints, who knows the settings by their names but no flags."""
    return _replaced(_LABELS, sentence)


def _replaced(labels: tuple[tuple[str, str], ...], sentence: str) -> str:
    for pattern, label in labels:
        sentence = re.sub(pattern, label, sentence)
    return sentence
