"""The judgement on slower stages: by shares of a fixed piece of work, long stages only."""

from __future__ import annotations

from benchmarks.pace import slower


def test_only_what_takes_a_multiple_of_its_share_is_told() -> None:
    stored = {"camera": 0.5, "video": 0.01, "texture": 1.0}
    assert slower({"camera": 0.9, "video": 0.09, "texture": 1.9, "new": 9.0}, stored) == []
    (sentence,) = slower({"camera": 1.5, "video": 0.09, "texture": 1.9}, stored)
    assert sentence.startswith("camera takes 1.50") and "3.0 times" in sentence
