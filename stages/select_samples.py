"""Decide which samples are published, and give a reason for each that is not."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from schemas.outcome import Reason
from schemas.sample import Drop, MeasuredClip, Sample, SelectedClip, TargetScore
from stages.algorithms.closed import ASKS
from stages.algorithms.density import Density, density, frame_edges
from stages.base import Resources, Stage

NAME = "SelectSamples"


@dataclass(frozen=True, kw_only=True)
class SelectSamples(Stage[MeasuredClip, SelectedClip, None]):
    """The policy. A hackable sample is dropped only where the scorer is in its domain: elsewhere it knows little.

    A clip that the samples left supervise too thinly loses them all.
    """

    drop_one_frame: bool = False
    drop_unscored: bool = False
    min_tokens_per_s: float | None = None  # density of a clip, see stages/algorithms/density.py
    min_cited_share: float | None = None  # of its planned frames
    max_uncited_s: float | None = None
    balance: tuple[str, ...] = ()  # questions that nobody may guess; when all samples are known: pipeline/balance.py

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=0.25, batch_rows=8)

    def __post_init__(self) -> None:
        for name in ("min_tokens_per_s", "min_cited_share", "max_uncited_s"):
            bound = getattr(self, name)
            if bound is not None and not (
                isfinite(bound) and 0 <= bound <= (1 if name == "min_cited_share" else bound)
            ):
                raise ValueError(
                    f"{name}={bound:g}: a number from 0 {'to 1' if 'share' in name else 'on'} is asked for"
                )
        unknown = sorted(set(self.balance) - set(ASKS))
        if unknown:
            raise ValueError(f"balance: unknown question {', '.join(unknown)}; known: {', '.join(ASKS)}")

    def process(self, _: None, clips: Sequence[MeasuredClip], /) -> list[SelectedClip]:
        return [self._selected(clip) for clip in clips]

    def _selected(self, clip: MeasuredClip) -> SelectedClip:
        scores = {s.target_id: s for s in clip.sample_scores}
        judged = [(s, self._against(s, scores.get(s.sample_id), clip.scorer.scorer_domain)) for s in clip.samples]
        chosen = [s for s, why in judged if why is None]
        sparse = self._too_thin(density_of(clip, chosen)) if chosen else None
        drops = tuple(
            Drop(key=s.sample_id, stage=NAME, reason=why[0], detail=why[1])
            for s, why in ((s, why or sparse) for s, why in judged)
            if why
        )
        row = {name: getattr(clip, name) for name in MeasuredClip.schema().names if name != "drops"}
        return SelectedClip(
            **row,
            drops=(*clip.drops, *drops),
            selected=() if sparse else tuple(s.sample_id for s in chosen),
        )

    def _against(self, sample: Sample, score: TargetScore | None, domain: str) -> tuple[Reason, str] | None:
        if score is None:
            why = "a twin" if sample.twin else "over the budget, or of a family that the scorer was not taught"
            return (Reason.NOT_SCORED, why) if self.drop_unscored else None
        if self.drop_one_frame and domain == "in" and score.verdict == "one-frame":
            return Reason.HACKABLE, f"tpl_key {score.tpl_key:.3f} nats"
        return None

    def _too_thin(self, found: Density) -> tuple[Reason, str] | None:
        """Why the clip is supervised too thinly: every bound that it misses."""
        missed = [
            *_under("tokens_per_s", found.tokens_per_s, self.min_tokens_per_s),
            *_under("cited_share", found.cited_share, self.min_cited_share),
            *_over("uncited_s", found.uncited_s, self.max_uncited_s),
        ]
        return (Reason.SPARSE, "; ".join(missed)) if missed else None


def density_of(clip: MeasuredClip, samples: Sequence[Sample]) -> Density:
    """How densely these samples supervise their clip."""
    tick_s = clip.time_base_num / clip.time_base_den
    return density(samples, frame_edges(clip.plan_tick, clip.start_tick, clip.end_tick, tick_s))


def _under(name: str, value: float, bound: float | None) -> list[str]:
    return [] if bound is None or value >= bound else [f"{name} {value:.3g} < {bound:g}"]


def _over(name: str, value: float, bound: float | None) -> list[str]:
    return [] if bound is None or value <= bound else [f"{name} {value:.3g} > {bound:g}"]
