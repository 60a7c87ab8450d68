"""Copies among finished clips: dropped by name, or named; the same in any order."""

from dataclasses import replace

import numpy as np

from pipeline.funnel import StageCount
from pipeline.near_duplicates import find_copies
from schemas.outcome import Outcome
from schemas.sample import SelectedClip
from schemas.video import QA
from stages.algorithms.near_duplicates import fingerprint
from stages.algorithms.quality import small_greys
from tests.publish.builders import QUALITY, load_frames, make_clip, video_id_of


def _clip(name: str, frames_THWC: np.ndarray, like: SelectedClip, *, width_px: int = 256) -> SelectedClip:
    """A clip of a video of its own that shows these frames."""
    edges = np.linspace(0, 3, len(frames_THWC) + 1)
    return replace(
        like, video_id=video_id_of(name), clip_id=name, uri=f"{name}.mp4", width_px=width_px,
        fingerprint=fingerprint(small_greys(frames_THWC), list(edges)),
    )  # fmt: skip


ONE, OTHER = make_clip(video_id_of("one")), make_clip(video_id_of("other"))
FRAMES = load_frames(ONE)
CLIPS = [
    _clip("a", FRAMES[:, :, ::-1], ONE),
    _clip("b", FRAMES, ONE, width_px=512),
    _clip("c", load_frames(OTHER), ONE),
    replace(_clip("d", FRAMES, ONE), fingerprint=None),  # of a plan that did not measure it
]


def test_copies_are_dropped_by_name_and_counted() -> None:
    copies = find_copies(CLIPS, drop=True)
    kept, ended = copies.without(CLIPS)
    assert [clip.clip_id for clip in kept] == ["b", "c", "d"]
    assert ended == [
        Outcome(key="a", uri="a.mp4", stage="NearDuplicates", kind="skip", reason="near_duplicate",
                detail="shows what b shows")
    ]  # fmt: skip
    line = StageCount(rows_in=3, rows_out=2, skipped={"near_duplicate": 1})
    assert copies.funnel.stages == {"NearDuplicates": line}


def test_by_default_a_copy_only_says_so() -> None:
    copies = find_copies(CLIPS, drop=False)
    kept, ended = copies.without(CLIPS)
    assert ended == []
    assert [clip.quality.near_duplicate_of for clip in kept if clip.quality] == ["b", None, None, None]
    assert [replace(clip, quality=QUALITY) for clip in kept] == CLIPS
    assert copies.funnel.stages == {}


def test_the_order_of_the_clips_does_not_matter() -> None:
    assert find_copies(CLIPS[::-1], drop=True).original == find_copies(CLIPS, drop=True).original == {"a": "b"}


def test_the_one_that_brought_texts_stays_then_the_largest_picture() -> None:
    asked = replace(CLIPS[0], is_whole_video=True, qa_given=(QA(question="Where?", answer="Here."),))
    assert find_copies([asked, *CLIPS[1:]], drop=True).original == {"b": "a"}
    barred = replace(CLIPS[1], quality=replace(QUALITY, picture_share=0.4))
    assert find_copies([CLIPS[0], barred], drop=True).original == {"b": "a"}


def test_no_clip_has_no_copy() -> None:
    assert find_copies([], drop=True).without([]) == ([], [])
