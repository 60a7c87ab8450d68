"""How much do a clip's captions need the whole clip, and where in time is what they tell?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from schemas.clip import CaptionedClip, DecodedClip
from schemas.outcome import Reason, Skip
from schemas.sample import ScoredClip, TargetScore
from schemas.time import seconds
from stages.algorithms.questions import CAPTION_QUESTION, TIMELINE_QUESTION
from stages.algorithms.tpl import contexts, target_score
from stages.base import Resources, Stage
from stages.media.child import Limits
from stages.media.frame_store import STORE_DIR, STORE_GB, ClipFrames
from stages.models.checkpoint import revision
from stages.models.protocols import Scorer, Target, TooLong

ASKED = {"global": CAPTION_QUESTION, "given": CAPTION_QUESTION, "timeline": TIMELINE_QUESTION}


@dataclass(frozen=True, slots=True)
class Eyes:
    """A scorer and the frames that it looks at."""

    scorer: Scorer
    frames: ClipFrames

    def score(
        self, clip: DecodedClip, targets: Sequence[Target], shuffles: int
    ) -> tuple[tuple[TargetScore, ...], np.ndarray]:
        """One score a target, and the planned frames that they were read with."""
        frames_THWC = self.frames.plan(clip)
        seen = contexts(len(frames_THWC), shuffles=shuffles, key=clip.clip_id)
        readings = self.scorer.watch(frames_THWC, frame_times(clip)).read(targets, seen)
        return tuple(
            target_score(
                target.target_id,
                reading.token_id,
                dict(zip(seen, reading.logprob, strict=True)),
                self.scorer.thresholds,
            )
            for target, reading in zip(targets, readings, strict=True)
        ), frames_THWC


def open_eyes(scorer: str, store_dir: str, store_gb: float) -> Eyes:
    """Loads the scorer. Its engine is imported here, so that a plan can be made where no engine is."""
    from stages.models.embedded import load_scorer

    return Eyes(load_scorer(scorer), ClipFrames(store_dir, store_gb, Limits()))


def frame_times(clip: DecodedClip) -> list[str]:
    """The times of the planned frames from the clip's start, as the composer writes them."""
    return [f"{seconds(t - clip.start_tick, clip.time_base_num, clip.time_base_den):.2f} s" for t in clip.plan_tick]


@dataclass(frozen=True, kw_only=True)
class ScoreCaptions(Stage[CaptionedClip, ScoredClip, Eyes]):
    """Adds a TargetScore a caption (DESIGN section 4); the curve of the first one later draws the query frames."""

    scorer: str = "embedded"
    shuffles: int = 0
    store_dir: str = STORE_DIR
    store_gb: float = STORE_GB

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=0.5, memory_gb=1.0)
    operational: ClassVar[frozenset[str]] = frozenset({"store_dir", "store_gb"})

    @property
    def parameters(self) -> dict[str, Any]:
        """The scorer by its bytes, too: another checkpoint under the same name is another plan."""
        return {**super().parameters, "scorer_revision": revision(self.scorer)}

    def open(self) -> Eyes:
        return open_eyes(self.scorer, self.store_dir, self.store_gb)

    def close(self, eyes: Eyes) -> None:
        eyes.frames.close()

    def process(self, eyes: Eyes, clips: Sequence[CaptionedClip], /) -> list[ScoredClip | Skip]:
        return [self._scored(eyes, clip) for clip in clips]

    def _scored(self, eyes: Eyes, clip: CaptionedClip) -> ScoredClip | Skip:
        targets = [Target(f"{clip.clip_id}/caption/{c.kind}", ASKED[c.kind], c.text) for c in clip.captions]
        try:
            scores, frames_THWC = eyes.score(clip, targets, self.shuffles)
        except TooLong as error:
            return Skip(Reason.TOO_LONG, str(error))
        except FloatingPointError as error:
            return Skip(Reason.NOT_FINITE, str(error))
        return clip.extend(ScoredClip, caption_scores=scores, scorer=eyes.scorer.card(frames_THWC))
