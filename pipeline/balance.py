"""Answers that can be guessed, among all samples of a build. They are counted when all samples are known, so no order
of work can matter; where the recipe says so, as few as possible are left out (stages/algorithms/balance.py)."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from schemas.outcome import Reason
from schemas.sample import Drop, SelectedClip
from stages.algorithms.balance import BalancePlan, Group, balance
from stages.algorithms.closed import Closed, closed
from stages.algorithms.shortcuts import MIN_SAMPLES, Measured, drawn, measure
from stages.caption_clip import scene_of

STAGE = "Balance"


@dataclass(frozen=True, slots=True)
class Balanced:
    """What could be guessed before, and which samples are left out."""

    before: tuple[Measured, ...]
    plan: BalancePlan
    samples: int  # before

    def without(self, clips: Iterable[SelectedClip]) -> list[SelectedClip]:
        """The clips, with a Drop for each sample that goes."""
        return [self._without(clip) for clip in clips]

    def _without(self, clip: SelectedClip) -> SelectedClip:
        chosen = set(clip.selected)
        gone = [s for s in clip.samples if s.sample_id in chosen and s.group_id in self.plan.dropped]
        if not gone:
            return clip
        detail = f"left out, with its pair, to even the answers of: {', '.join(self.plan.asks)}"
        drops = [Drop(key=s.sample_id, stage=STAGE, reason=Reason.IMBALANCE, detail=detail) for s in gone]
        left = chosen - {s.sample_id for s in gone}
        return replace(clip, drops=(*clip.drops, *drops), selected=tuple(s for s in clip.selected if s in left))


def find_balance(
    clips: Iterable[SelectedClip], asks: tuple[str, ...], *, min_samples: int = MIN_SAMPLES
) -> Balanced | None:
    """Which samples of all clips of a build go; None where no question is named, and then no clip is read.

    In memory: the questions of all samples that can be guessed, about 1 kB each.
    """
    if not asks:
        return None
    groups = [group for clip in clips for group in _groups(clip)]
    before = measure(drawn(q for group in groups for q in group.questions))
    return Balanced(before, balance(groups, asks, min_samples=min_samples), sum(group.samples for group in groups))


def closed_questions(clip: SelectedClip) -> Iterator[Closed]:
    """Of the samples that are published."""
    chosen = set(clip.selected)
    yield from closed(scene_of(clip), clip.video_id, [s for s in clip.samples if s.sample_id in chosen])


def _groups(clip: SelectedClip) -> Iterator[Group]:
    chosen = set(clip.selected)
    sizes = Counter(s.group_id for s in clip.samples if s.sample_id in chosen)
    questions: defaultdict[str, list[Closed]] = defaultdict(list)
    for question in closed_questions(clip):
        questions[question.group_id].append(question)
    for group_id, samples in sizes.items():
        yield Group(group_id, samples, tuple(questions[group_id]))
