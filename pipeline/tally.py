"""What card and report tell, gathered while videos stream past: counts, a bounded draw of scores, a gallery."""

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from pipeline.balance import Balanced, closed_questions
from pipeline.publish import FinishedVideo, split_of
from schemas.outcome import Outcome
from schemas.sample import Sample, SelectedClip, TargetScore
from schemas.time import seconds
from stages.algorithms.closed import Closed
from stages.algorithms.density import Density
from stages.algorithms.draws import stable_hash
from stages.algorithms.shortcuts import MAX_DRAWN, Measured, draw_key, measure
from stages.select_samples import density_of

NOT_SCORED = "not scored"
MAX_POINTS = 5_000  # scores and clips that plots show: those with the lowest hashes, which is a uniform draw
MAX_LISTED = 50  # failures that the report lists, and as many skips
A_CELL = 3  # candidates kept for each family, direction and domain
GALLERY = 24
Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class Point:
    """One scored, published sample."""

    family: str
    domain: str  # "in" | "out"
    tpl: float  # nats
    tokens: int  # of the answer


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A sample to be shown, with the clip that it came from."""

    clip: SelectedClip
    sample: Sample
    score: TargetScore | None

    @property
    def order(self) -> tuple[bool, int]:
        """Scored ones first, then by hash: a fixed draw that no author has chosen."""
        return self.score is None, stable_hash(f"gallery/{self.sample.sample_id}")


@dataclass(slots=True)
class Tally:
    """Memory is bounded by the numbers above, not by the corpus."""

    balanced: Balanced | None = None  # what was found and left out before; None where the recipe does not ask for it
    videos: int = 0
    clips: Counter[str] = field(default_factory=Counter)  # by domain
    clip_s: float = 0.0
    families: Counter[str] = field(default_factory=Counter)
    directions: Counter[str] = field(default_factory=Counter)
    answer_types: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[tuple[str | None, str]] = field(default_factory=Counter)  # by verdict or "not scored", and domain
    reasons: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # failures by kind, stage, reason
    listed: defaultdict[str, list[Outcome]] = field(default_factory=lambda: defaultdict(list))  # the first, by kind
    answer_tokens: int = 0  # of clips with samples, as the next two
    cited_frames: int = 0
    planned_frames: int = 0
    supervised_s: float = 0.0
    _points: list[tuple[int, str, Point]] = field(default_factory=list)  # a heap, highest hash on top, as the next two
    _densities: list[tuple[int, str, Density]] = field(default_factory=list)
    _questions: defaultdict[str, list[tuple[int, str, Closed]]] = field(default_factory=lambda: defaultdict(list))
    _measured: tuple[Measured, ...] | None = None
    _cells: defaultdict[tuple[str, str, str], list[Exhibit]] = field(default_factory=lambda: defaultdict(list))

    def add(self, video: FinishedVideo) -> None:
        """Count a finished video."""
        self.videos += bool(video.clips)
        for outcome in video.outcomes:
            self._ended(outcome)
        for clip in video.clips:
            for d in clip.drops:
                self._ended(
                    Outcome(key=d.key, uri=clip.uri, stage=d.stage, kind="skip", reason=d.reason, detail=d.detail)
                )
            self.clips[clip.scorer.scorer_domain] += 1
            self.clip_s += seconds(clip.end_tick - clip.start_tick, clip.time_base_num, clip.time_base_den)
            self._clip(clip)

    @property
    def samples(self) -> int:
        return self.families.total()

    @property
    def scored(self) -> int:
        return self.samples - sum(n for (verdict, _), n in self.verdicts.items() if verdict == NOT_SCORED)

    @property
    def points(self) -> list[Point]:
        return [point for _, _, point in sorted(self._points, key=lambda p: p[1])]

    @property
    def densities(self) -> list[Density]:
        """Of a draw of the clips with samples."""
        return [found for _, _, found in sorted(self._densities, key=lambda d: d[1])]

    def density_percentiles(self, name: str) -> tuple[float, ...]:
        """5th, 50th and 95th, of the clips drawn; at least one clip has samples."""
        return tuple(float(v) for v in np.percentile([getattr(d, name) for d in self.densities], (5, 50, 95)))

    @property
    def shortcuts_before(self) -> tuple[Measured, ...]:
        """Of the questions before any was left out; none where the recipe balances nothing."""
        return self.balanced.before if self.balanced else ()

    @property
    def shortcuts(self) -> tuple[Measured, ...]:
        """What can be guessed of a draw of the published samples."""
        if self._measured is None:
            self._measured = measure([q for drawn in self._questions.values() for _, _, q in drawn])
        return self._measured

    def gallery(self, count: int = GALLERY) -> list[Exhibit]:
        """Samples that cover domains, families, directions and videos, in the order of choice."""
        left = sorted((e for cell in self._cells.values() for e in cell), key=lambda e: e.order)
        chosen: list[Exhibit] = []
        used: Counter[str] = Counter()
        while left and len(chosen) < count:
            best = min(left, key=lambda e: (*(used[mark] for mark in _marks(e)), e.order))
            left.remove(best)
            chosen.append(best)
            used.update(_marks(best))
        return chosen

    def _clip(self, clip: SelectedClip) -> None:
        chosen, scores = set(clip.selected), {s.target_id: s for s in clip.sample_scores}
        domain = clip.scorer.scorer_domain
        for sample in (s for s in clip.samples if s.sample_id in chosen):
            score = scores.get(sample.sample_id)
            self.families[sample.family] += 1
            self.directions[sample.direction] += 1
            self.answer_types[sample.answer_type] += 1
            self.splits[split_of(clip.video_id)] += 1
            self.verdicts[score.verdict if score else NOT_SCORED, domain] += 1
            if score:
                point = Point(sample.family, domain, score.tpl, len(score.token_id))
                _keep(self._points, stable_hash(sample.sample_id), sample.sample_id, point, MAX_POINTS)
            cell = self._cells[sample.family, sample.direction, domain]
            cell.append(Exhibit(clip, sample, score))
            cell.sort(key=lambda e: e.order)
            del cell[A_CELL:]
        if chosen:
            self._density(clip.clip_id, density_of(clip, [s for s in clip.samples if s.sample_id in chosen]))
        for question in closed_questions(clip):
            _keep(self._questions[question.ask], draw_key(question), question.sample_id, question, MAX_DRAWN)

    def _density(self, clip_id: str, found: Density) -> None:
        self.answer_tokens += found.tokens
        self.supervised_s += found.clip_s
        self.cited_frames += found.cited
        self.planned_frames += found.planned
        _keep(self._densities, stable_hash(clip_id), clip_id, found, MAX_POINTS)

    def _ended(self, outcome: Outcome) -> None:
        self.reasons[outcome.kind, outcome.stage, outcome.reason] += 1
        if len(self.listed[outcome.kind]) < MAX_LISTED:
            self.listed[outcome.kind].append(outcome)


def _keep(heap: list[tuple[int, str, Kept]], drawn: int, key: str, value: Kept, most: int) -> None:
    """Adds a value to a draw of those with the lowest hashes."""
    heapq.heappush(heap, (-drawn, key, value))
    if len(heap) > most:
        heapq.heappop(heap)


def _marks(e: Exhibit) -> tuple[str, str, str, str]:
    """What the gallery must not show too often, the most important first."""
    domain = e.clip.scorer.scorer_domain
    family, twin = f"family {e.sample.family}", f"twin {e.sample.twin} {domain}"
    return family, twin, f"direction {e.sample.direction}", f"video {e.clip.video_id}"
