"""How much of each composed answer would one frame have given away?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from schemas.outcome import Skip
from schemas.sample import ComposedClip, MeasuredClip, Sample
from stages.algorithms.draws import draws
from stages.base import Stage
from stages.models.protocols import Target
from stages.watching import Eyes, Watching


@dataclass(frozen=True, kw_only=True)
class ScoreSamples(Watching, Stage[ComposedClip, MeasuredClip, Eyes]):
    """Adds scores of at most `max_targets` samples a clip: one of each family first, then by draw."""

    max_targets: int = 8
    seed: int = 0

    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.max_targets < 0 or self.shuffles < 0:
            raise ValueError(f"max_targets={self.max_targets} and shuffles={self.shuffles} are no counts")

    def process(self, eyes: Eyes, clips: Sequence[ComposedClip], /) -> list[MeasuredClip | Skip]:
        return [self._measured(eyes, clip) for clip in clips]

    def _measured(self, eyes: Eyes, clip: ComposedClip) -> MeasuredClip | Skip:
        chosen = _within_budget(clip, self.max_targets, self.seed)
        targets = [
            Target(s.sample_id, s.messages[0].content.removeprefix("<video>\n"), s.messages[1].content) for s in chosen
        ]
        found = eyes.score(clip, targets, self.shuffles)
        return found if isinstance(found, Skip) else clip.extend(MeasuredClip, sample_scores=found[0])


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
