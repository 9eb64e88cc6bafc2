from __future__ import annotations

from pathlib import Path

import pytest

from tests.ui.conftest import write_clip
from v2m4.errors import V2M4Error
from v2m4.settings import Settings, VideoSettings
from v2m4.ui.limits import VARIABLES, Limits, check_length, check_upload, early_look, thinned
from v2m4.video import VideoFacts

LONG = VideoFacts(frames=720, size=(640, 480), seconds=12.0, fps=60.0, has_alpha=False)


def test_every_limit_can_be_set_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(VARIABLES.values(), start=3):
        monkeypatch.setenv(name, str(number))
    assert list(vars(Limits.from_environment()).values()) == list(range(3, 3 + len(VARIABLES)))


def test_a_fast_clip_is_thinned_out_and_the_page_says_so() -> None:
    settings, sentence = thinned(LONG, Settings(), Limits(frames=300))
    assert settings.video.frame_step == 3 and "every 3rd" in sentence


def test_a_clip_that_fits_is_left_alone() -> None:
    settings, sentence = thinned(LONG, Settings(video=VideoSettings(start_s=2, end_s=4)), Limits(frames=300))
    assert settings.video.frame_step == 1 and not sentence


@pytest.mark.parametrize(
    ("video", "words"),
    [
        (VideoSettings(start_s=13), "behind the end"),
        (VideoSettings(start_s=3, end_s=2), "must come after “From”"),
        (VideoSettings(), "Trim it with “From”"),
    ],
)
def test_what_is_too_long_or_empty_is_refused(video: VideoSettings, words: str) -> None:
    with pytest.raises(V2M4Error, match=words):
        check_length(LONG, video, Limits(seconds=10))


def test_no_file_a_gone_file_and_a_large_file_are_refused(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=3, size=32)
    assert check_upload(clip, Limits()) == clip
    for path, words in ((None, "Choose a video"), (tmp_path / "gone.mp4", "Choose it again"), (clip, "0 MB allowed")):
        with pytest.raises(V2M4Error, match=words):
            check_upload(path, Limits(megabytes=0))


def test_a_clip_of_more_frames_than_are_read_is_looked_at_all_the_same(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=40, size=32, fps=60)
    few = VideoSettings(max_frames=5, start_s=0.1, end_s=0.5)
    assert early_look(clip, few, Limits()).frames == 40
    with pytest.raises(V2M4Error, match="more than the 16"):
        early_look(clip, few, Limits(side=16))
