"""How much does each text about a span of film need the whole span, and not one frame of it?"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from schemas.outcome import Reason
from schemas.pair import PairClip, ScoredPairs, Text
from schemas.sample import Drop, TargetEstimate, TargetScore
from schemas.time import seconds
from stages.algorithms.budget import FULL, Budget, estimates
from stages.base import Resources, Stage
from stages.decode_pairs import planned_frames
from stages.measure import Measures, measure
from stages.media.child import Limits
from stages.media.frame_store import STORE_DIR, STORE_GB, ClipFrames
from stages.models.checkpoint import revision
from stages.models.protocols import NotSeparable, OtherPositions, Scorer, Target, TooLong, Watched
from stages.models.vllm_engine import EngineOptions, EngineUnusable

if TYPE_CHECKING:
    from stages.models.vllm_scorer import VllmScorer

ENGINES = ("transformers", "vllm")
REASONS = {
    TooLong: Reason.TOO_LONG,
    NotSeparable: Reason.NOT_SEPARABLE,
    OtherPositions: Reason.OTHER_POSITIONS,
    FloatingPointError: Reason.NOT_FINITE,
}


@dataclass(frozen=True, slots=True)
class PairEyes:
    """A scorer and the frames that it looks at."""

    scorer: Scorer
    frames: ClipFrames
    served: "VllmScorer | None" = None  # the same scorer, where its engine is processes that must be ended


@dataclass(frozen=True, kw_only=True)
class ScorePairs(Stage[PairClip, ScoredPairs, PairEyes]):
    """Adds a TargetScore a text (DESIGN section 4), all from one watch of the span; a text that cannot be scored gets
    a Drop and spoils no other. Thresholds hold for one number of frames: with another one there is no verdict.

    Within a budget single frames are all that is read beyond all of them and none; a text of which some were not read
    gets a TargetEstimate."""

    scorer: str = "embedded"
    engine: str = "transformers"  # or "vllm"
    budget: str = FULL  # see stages/algorithms/budget.py
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
    fatal = (EngineUnusable,)
    operational: ClassVar[frozenset[str]] = frozenset({"store_dir", "store_gb"})

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ValueError(f"engine {self.engine!r}: {' or '.join(ENGINES)}")
        _ = self.measures  # raises where shuffles is no count
        if Budget.parse(self.budget).kind != FULL and self.measures != Measures():
            raise ValueError(
                f"budget {self.budget} reads no orders, segments or certificates: leave out shuffles, segments and "
                f"certificate, or the budget"
            )

    @property
    def measures(self) -> Measures:
        """What is read of every text."""
        return Measures(shuffles=self.shuffles, segments=self.segments, certificate=self.certificate)

    @property
    def parameters(self) -> dict[str, Any]:
        """The scorer by its bytes, too: another checkpoint under the same name is another plan."""
        return {**super().parameters, "scorer_revision": revision(self.scorer)}

    def open(self) -> PairEyes:
        """Loads the scorer. Its engine is imported here, so that a plan can be made where no engine is."""
        served = self._served() if self.engine == "vllm" else None
        return PairEyes(served or self._loaded(), ClipFrames(self.store_dir, self.store_gb, Limits()), served)

    def _loaded(self) -> Scorer:
        from stages.models.load import load_scorer

        return load_scorer(self.scorer, dtype=self.dtype, device=self.device, prompt=self.prompt)

    def _served(self) -> "VllmScorer":
        from stages.models.vllm_load import load_vllm_scorer

        options = EngineOptions(dtype=self.dtype)
        return load_vllm_scorer(self.scorer, options=options, device=self.device, prompt=self.prompt)

    def close(self, eyes: PairEyes) -> None:
        if eyes.served:
            eyes.served.close()
        eyes.frames.close()

    def process(self, eyes: PairEyes, clips: Sequence[PairClip], /) -> list[ScoredPairs]:
        return [self._scored(eyes, clip) for clip in clips]

    def _scored(self, eyes: PairEyes, clip: PairClip) -> ScoredPairs:
        frames_THWC = planned_frames(eyes.frames, clip)
        watched = eyes.scorer.watch(frames_THWC, frame_times(clip))
        found = self._measured(eyes.scorer, watched, clip, clip.texts)
        return clip.extend(
            ScoredPairs,
            budget=self.budget,
            scores=tuple(score for score in found if isinstance(score, TargetScore)),
            estimates=tuple(estimate for estimate in found if isinstance(estimate, TargetEstimate)),
            drops=tuple(drop for drop in found if isinstance(drop, Drop)),
            scorer=eyes.scorer.card(frames_THWC),
            floor=eyes.scorer.floor,
        )

    def _measured(
        self, scorer: Scorer, watched: Watched, clip: PairClip, texts: Sequence[Text]
    ) -> list[TargetScore | TargetEstimate | Drop]:
        """A score, an estimate or a drop for each text; where a text stops all, each is tried alone."""
        budget = Budget.parse(self.budget)
        full = partial(measure, measures=self.measures)
        read = full if budget.kind == FULL else partial(estimates, budget=budget)
        try:
            scores = read(
                watched,
                [target_of(text) for text in texts],
                n_frames=len(clip.frame_tick),
                key=clip.clip_id,
                thresholds=scorer.thresholds if len(clip.frame_tick) == scorer.n_frames else None,
                floor=scorer.floor,
            )
        except tuple(REASONS) as error:
            if len(texts) == 1:
                reason = REASONS[type(error)]
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
