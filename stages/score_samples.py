"""How much of each composed answer would one frame have given away?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from schemas.outcome import Reason, Skip
from schemas.sample import ComposedClip, MeasuredClip, Sample
from stages.algorithms.draws import draws
from stages.base import Resources, Stage
from stages.media.frame_store import STORE_DIR, STORE_GB
from stages.models.checkpoint import revision
from stages.models.protocols import Target, TooLong
from stages.score_captions import Eyes, open_eyes


@dataclass(frozen=True, kw_only=True)
class ScoreSamples(Stage[ComposedClip, MeasuredClip, Eyes]):
    """Adds scores of at most `max_targets` samples a clip: one of each family first, then by draw."""

    scorer: str = "embedded"
    max_targets: int = 8
    shuffles: int = 0
    seed: int = 0
    store_dir: str = STORE_DIR
    store_gb: float = STORE_GB

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=0.5, memory_gb=1.0)
    operational: ClassVar[frozenset[str]] = frozenset({"store_dir", "store_gb"})

    def __post_init__(self) -> None:
        if self.max_targets < 0 or self.shuffles < 0:
            raise ValueError(f"max_targets={self.max_targets} and shuffles={self.shuffles} are no counts")

    @property
    def parameters(self) -> dict[str, Any]:
        """The scorer by its bytes, too: another checkpoint under the same name is another plan."""
        return {**super().parameters, "scorer_revision": revision(self.scorer)}

    def open(self) -> Eyes:
        return open_eyes(self.scorer, self.store_dir, self.store_gb)

    def close(self, eyes: Eyes) -> None:
        eyes.frames.close()

    def process(self, eyes: Eyes, clips: Sequence[ComposedClip], /) -> list[MeasuredClip | Skip]:
        return [self._measured(eyes, clip) for clip in clips]

    def _measured(self, eyes: Eyes, clip: ComposedClip) -> MeasuredClip | Skip:
        chosen = _within_budget(clip, self.max_targets, self.seed)
        targets = [
            Target(s.sample_id, s.messages[0].content.removeprefix("<video>\n"), s.messages[1].content) for s in chosen
        ]
        try:
            scores, _ = eyes.score(clip, targets, self.shuffles)
        except TooLong as error:
            return Skip(Reason.TOO_LONG, str(error))
        except FloatingPointError as error:
            return Skip(Reason.NOT_FINITE, str(error))
        return clip.extend(MeasuredClip, sample_scores=scores)


def _within_budget(clip: ComposedClip, budget: int, seed: int) -> list[Sample]:
    """One sample of each family and direction in a random order, then the rest in a random order, cut at the budget."""
    order = draws(seed, f"{clip.clip_id}/budget").permutation(len(clip.samples))
    shuffled = [clip.samples[i] for i in order]
    first: dict[tuple[str, str], Sample] = {}
    for sample in shuffled:
        first.setdefault((sample.family, sample.direction), sample)
    ahead = list(first.values())
    rest = [s for s in shuffled if s not in ahead]
    return [*ahead, *rest][:budget]
