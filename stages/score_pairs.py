"""How much does each text about a span of film need the whole span, and not one frame of it?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from schemas.outcome import Reason
from schemas.pair import PairClip, ScoredPairs, Text
from schemas.sample import Drop, TargetScore
from schemas.time import seconds
from stages.base import Resources, Stage
from stages.decode_pairs import planned_frames
from stages.measure import Measures, measure
from stages.media.child import Limits
from stages.media.frame_store import STORE_DIR, STORE_GB, ClipFrames
from stages.models.checkpoint import revision
from stages.models.protocols import NotSeparable, Scorer, Target, TooLong, Watched

REASONS = {TooLong: Reason.TOO_LONG, FloatingPointError: Reason.NOT_FINITE}


@dataclass(frozen=True, slots=True)
class PairEyes:
    """A scorer and the frames that it looks at."""

    scorer: Scorer
    frames: ClipFrames


@dataclass(frozen=True, kw_only=True)
class ScorePairs(Stage[PairClip, ScoredPairs, PairEyes]):
    """Adds a TargetScore a text (DESIGN section 4), all from one watch of the span; a text that cannot be scored gets
    a Drop and spoils no other. Thresholds hold for one number of frames: with another one there is no verdict."""

    scorer: str = "embedded"
    shuffles: int = 4
    segments: bool = True
    certificate: bool = True
    prompt: str = "frames"  # says which frames are shown; "paper" does not
    dtype: str = "float32"
    device: str = "cpu"
    store_dir: str = STORE_DIR
    store_gb: float = STORE_GB

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=0.5, memory_gb=1.0)
    operational: ClassVar[frozenset[str]] = frozenset({"store_dir", "store_gb"})

    def __post_init__(self) -> None:
        _ = self.measures  # raises where shuffles is no count

    @property
    def measures(self) -> Measures:
        """What is read of every text."""
        return Measures(shuffles=self.shuffles, segments=self.segments, certificate=self.certificate)

    @property
    def parameters(self) -> dict[str, Any]:
        """The scorer by its bytes, too: another checkpoint under the same name is another plan."""
        return {**super().parameters, "scorer_revision": revision(self.scorer)}

    def open(self) -> PairEyes:
        from stages.models.load import load_scorer  # so that a plan can be made where no engine is

        return PairEyes(
            load_scorer(self.scorer, dtype=self.dtype, device=self.device, prompt=self.prompt),
            ClipFrames(self.store_dir, self.store_gb, Limits()),
        )

    def close(self, eyes: PairEyes) -> None:
        eyes.frames.close()

    def process(self, eyes: PairEyes, clips: Sequence[PairClip], /) -> list[ScoredPairs]:
        return [self._scored(eyes, clip) for clip in clips]

    def _scored(self, eyes: PairEyes, clip: PairClip) -> ScoredPairs:
        frames_THWC = planned_frames(eyes.frames, clip)
        watched = eyes.scorer.watch(frames_THWC, frame_times(clip))
        found = self._measured(eyes.scorer, watched, clip, clip.texts)
        return clip.extend(
            ScoredPairs,
            scores=tuple(score for score in found if isinstance(score, TargetScore)),
            drops=tuple(drop for drop in found if isinstance(drop, Drop)),
            scorer=eyes.scorer.card(frames_THWC),
            floor=eyes.scorer.floor,
        )

    def _measured(
        self, scorer: Scorer, watched: Watched, clip: PairClip, texts: Sequence[Text]
    ) -> list[TargetScore | Drop]:
        """A score or a drop for each text; where a text stops all, each is tried alone."""
        try:
            scores = measure(
                watched,
                [target_of(text) for text in texts],
                n_frames=len(clip.frame_tick),
                key=clip.clip_id,
                thresholds=scorer.thresholds if len(clip.frame_tick) == scorer.n_frames else None,
                measures=self.measures,
            )
        except (TooLong, NotSeparable, FloatingPointError) as error:
            if len(texts) == 1:
                reason = REASONS.get(type(error), type(error).__name__)
                return [Drop(key=texts[0].pair_id, stage=type(self).__name__, reason=reason, detail=str(error))]
            return [found for text in texts for found in self._measured(scorer, watched, clip, [text])]
        return list(scores)


@dataclass(frozen=True, kw_only=True)
class ScorePairsOnGpu(ScorePairs):
    """The same with a GPU a worker."""

    resources: ClassVar[Resources] = Resources(cpus=1, gpus=1, memory_gb=24)


def target_of(text: Text) -> Target:
    """What the scorer reads: earlier turns are shown, the answer alone is scored."""
    history = tuple((turn.question, turn.answer) for turn in text.history)
    return Target(text.pair_id, text.question, text.answer, history)


def frame_times(clip: PairClip) -> list[str]:
    """The times of the planned frames from the span's start, as the prompt names them."""
    return [f"{seconds(t - clip.start_tick, clip.time_base_num, clip.time_base_den):.2f} s" for t in clip.frame_tick]
