"""How much of each composed answer would one frame have given away?"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from schemas.outcome import Skip
from schemas.sample import ComposedClip, MeasuredClip, Sample
from stages.algorithms.draws import draws
from stages.base import Stage
from stages.models.protocols import Target
from stages.watching import Eyes, Watching

GIVEN = "given"  # somebody's own words: measuring them is what was asked for


@dataclass(frozen=True, kw_only=True)
class ScoreSamples(Watching, Stage[ComposedClip, MeasuredClip, Eyes]):
    """Adds scores of at most `max_targets` samples a clip: one of each family first, then by draw; of those
    families only that the scorer was taught, where its card says so."""

    max_targets: int = 8
    seed: int = 0

    version: ClassVar[int] = 3

    def __post_init__(self) -> None:
        if self.max_targets < 0 or self.shuffles < 0:
            raise ValueError(f"max_targets={self.max_targets} and shuffles={self.shuffles} are no counts")

    def process(self, eyes: Eyes, clips: Sequence[ComposedClip], /) -> list[MeasuredClip | Skip]:
        return [self._measured(eyes, clip) for clip in clips]

    def _measured(self, eyes: Eyes, clip: ComposedClip) -> MeasuredClip | Skip:
        chosen = _within_budget(clip, self.max_targets, self.seed, eyes.scorer.taught)
        targets = [_target(sample) for sample in chosen]
        found = eyes.score(clip, targets, self.shuffles)
        return found if isinstance(found, Skip) else clip.extend(MeasuredClip, sample_scores=found[0])


def _target(sample: Sample) -> Target:
    """The last answer of a conversation, after its earlier turns."""
    said = [message.content.removeprefix("<video>\n") for message in sample.messages]
    history = tuple(zip(said[:-2:2], said[1:-2:2], strict=True))
    return Target(sample.sample_id, said[-2], said[-1], history)


def _within_budget(clip: ComposedClip, budget: int, seed: int, taught: Collection[str] | None) -> list[Sample]:
    """One sample of each family and direction in a random order, then the rest in a random order, cut at the budget.

    Twins are not scored: their frames are not those that the scorer was shown.
    """
    able = [s for s in clip.samples if s.twin is None and (taught is None or s.family in (*taught, GIVEN))]
    order = draws(seed, f"{clip.clip_id}/budget").permutation(len(able))
    shuffled = [able[i] for i in order]
    first: dict[tuple[str, str], Sample] = {}
    for sample in shuffled:
        first.setdefault((sample.family, sample.direction), sample)
    ahead = list(first.values())
    rest = [s for s in shuffled if s not in ahead]
    return [*ahead, *rest][:budget]
