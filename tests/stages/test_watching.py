"""What the build makes of a clip's texts, with a scorer whose texts are known."""

from collections.abc import Sequence

import numpy as np
import pytest

from schemas.clip import DecodedClip
from schemas.outcome import Reason, Skip
from stages.algorithms.tpl import Context
from stages.media.frame_store import ClipFrames
from stages.models.protocols import NotSeparable, Reading, Target, TooLong
from stages.watching import Eyes
from tests.fake_scorer import FakeScorer, FakeWatched
from tests.publish.builders import N_FRAMES, make_clip, video_id_of

CLIP = make_clip(video_id_of("watching.mp4"))


class Black(ClipFrames):
    """Every clip is black."""

    def __init__(self) -> None:
        pass

    def plan(self, clip: DecodedClip) -> np.ndarray:
        return np.zeros((len(clip.plan_tick), 8, 8, 3), np.uint8)


class Refuses(FakeScorer):
    """Reads nothing, for a reason."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def watch(self, frames_THWC: np.ndarray, times: Sequence[str]) -> FakeWatched:
        return RefusesToRead(self.error)


class RefusesToRead(FakeWatched):
    def __init__(self, error: Exception) -> None:
        super().__init__(N_FRAMES)
        self.error = error

    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        raise self.error


TARGETS = [Target(rule, "What happens?", f"{rule} of the rules") for rule in ("nothing", "one", "every")]


@pytest.mark.parametrize(
    ("calibrated", "verdicts"),
    [(N_FRAMES, ["ungrounded", "one-frame", "temporal"]), (N_FRAMES // 2, [None] * 3), (None, [None] * 3)],
)
def test_a_verdict_is_given_for_the_calibrated_number_of_frames_only(
    calibrated: int | None, verdicts: list[str | None]
) -> None:
    found = Eyes(FakeScorer(n_frames=calibrated), Black()).score(CLIP, TARGETS, shuffles=0)
    assert not isinstance(found, Skip)
    scores, frames_THWC = found
    assert len(frames_THWC) == N_FRAMES
    assert [score.verdict for score in scores] == verdicts
    assert [score.tpl for score in scores] == pytest.approx([0, 0, 7.0])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TooLong("x: 9 + 9 tokens > 10"), Reason.TOO_LONG),
        (NotSeparable("the text holds '<video>': take it out"), Reason.NOT_SEPARABLE),
        (FloatingPointError("nan"), Reason.NOT_FINITE),
    ],
)
def test_a_clip_that_cannot_be_read_is_skipped_by_name(error: Exception, reason: Reason) -> None:
    found = Eyes(Refuses(error), Black()).score(CLIP, TARGETS, shuffles=0)
    assert found == Skip(reason, str(error))
