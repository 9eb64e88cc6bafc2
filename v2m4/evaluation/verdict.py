"""What a result is worth, in words with the numbers: for the report, the command and the page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from v2m4.settings import VerdictSettings


def verdict(
    overlaps: Sequence[float],
    empty: Collection[int],
    warnings: Sequence[str],
    settings: VerdictSettings,
    torn: float = 0.0,
    crumpled: float = 0.0,
    psnr: Sequence[float] = (),
) -> dict[str, Any]:
    """Judge an animation by its mask overlap per frame; frames in ``empty`` show no object and are left out.
    torn: the share of its faces that is stretched or flipped in some pose; crumpled: that is pressed together. psnr:
    per frame, in dB; none where the look was not compared.

    Returns ``level`` ("weak", "fair" or "good"), ``says`` (one line that begins with the level), ``mean_overlap``,
    ``worst_overlap``, ``worst_frame``, ``weakest_frames``, ``lost_frames`` and ``frames`` (how many were judged).
    """
    shown = {index: overlap for index, overlap in enumerate(overlaps) if index not in empty}
    mean = sum(shown.values()) / max(1, len(shown))
    worst = min(shown, key=lambda index: shown[index], default=0)
    lost = [index for index, overlap in shown.items() if overlap < settings.weak_frame]
    hurt = torn > settings.torn or crumpled > settings.crumpled
    look = {index: value for index, value in enumerate(psnr) if index not in empty}
    off = [index for index, value in look.items() if value < settings.good_psnr]
    typical = sum(look.values()) / max(1, len(look))
    unlike = bool(look) and (typical < settings.good_psnr or len(off) > settings.weak_share * len(look))
    if not shown or mean < settings.weak_mean or len(lost) > settings.weak_share * len(shown):
        level = "weak"
    elif mean >= settings.good_mean and not (lost or warnings or unlike or hurt):
        level = "good"
    else:
        level = "fair"
    numbers = f"mask overlap {mean:.2f} on average, {shown.get(worst, 0.0):.2f} at worst (frame {worst})"
    if lost:
        numbers += f", below {settings.weak_frame:g} in {len(lost)} of {len(shown)} frames"
    if torn > settings.torn:
        numbers += f"; {torn:.1%} of the faces are torn in some pose"
    if crumpled > settings.crumpled:
        numbers += f"; {crumpled:.0%} of the faces are crumpled in some pose"
    if unlike:
        some = f" in {len(off)} of {len(look)} frames" if len(off) < len(look) else ""
        numbers += f"; its colours differ from the video's{some} (PSNR {typical:.1f} dB on average)"
    weakest = lost or _about(worst, shown, settings.weakest_within)
    if len(weakest) > 1:
        numbers += f"; the weakest frames are {frame_ranges(weakest)}"
    return {
        "level": level,
        "says": f"{level} result: {numbers}.{_advice(level, worst, warnings)}",
        "mean_overlap": round(mean, 4),
        "worst_overlap": round(shown.get(worst, 0.0), 4),
        "worst_frame": worst,
        "weakest_frames": weakest,
        "lost_frames": lost,
        "frames": len(shown),
    }


def _about(worst: int, shown: Mapping[int, float], within: float) -> list[int]:
    """The frames next to the worst one that are nearly as bad; none where half of all are."""
    found = [worst] if worst in shown else []
    for step in (-1, 1):
        index = worst + step
        while index in shown and shown[index] <= shown[worst] + within:
            found.append(index)
            index += step
    return sorted(found) if 2 * len(found) <= len(shown) else []


def frame_ranges(frames: Sequence[int]) -> str:
    """Ascending frames in words: “3–5, 9”."""
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame == runs[-1][-1] + 1:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def _advice(level: str, worst: int, warnings: Sequence[str]) -> str:
    if level == "good":
        return ""
    if warnings:
        several = f"{len(warnings)} warnings say" if len(warnings) > 1 else "A warning says"
        return f" {several} what looked wrong with the masks: begin there."
    if level == "fair":
        return ""
    return (
        f" The mesh does not follow the object. Look at the preview around frame {worst}; a slower or shorter part of "
        "the clip, closer keyframes (--keyframes.stride 2) or a better generator (v2m4 doctor lists them) may help."
    )
