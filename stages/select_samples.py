"""Decide which samples are published, and give a reason for each that is not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from schemas.outcome import Reason
from schemas.sample import Drop, MeasuredClip, SelectedClip, TargetScore
from stages.base import Resources, Stage


@dataclass(frozen=True, kw_only=True)
class SelectSamples(Stage[MeasuredClip, SelectedClip, None]):
    """The policy. A hackable sample is dropped only where the scorer is in its domain: elsewhere it knows little."""

    drop_one_frame: bool = False
    drop_unscored: bool = False

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=0.25, batch_rows=8)

    def process(self, _: None, clips: Sequence[MeasuredClip], /) -> list[SelectedClip]:
        return [self._selected(clip) for clip in clips]

    def _selected(self, clip: MeasuredClip) -> SelectedClip:
        scores = {s.target_id: s for s in clip.sample_scores}
        judged = [(s, self._against(scores.get(s.sample_id), clip.scorer.scorer_domain)) for s in clip.samples]
        drops = tuple(
            Drop(key=s.sample_id, stage="SelectSamples", reason=why[0], detail=why[1]) for s, why in judged if why
        )
        row = {name: getattr(clip, name) for name in MeasuredClip.schema().names if name != "drops"}
        return SelectedClip(
            **row, drops=(*clip.drops, *drops), selected=tuple(s.sample_id for s, why in judged if why is None)
        )

    def _against(self, score: TargetScore | None, domain: str) -> tuple[Reason, str] | None:
        if score is None:
            return (Reason.OVER_BUDGET, "not scored") if self.drop_unscored else None
        if self.drop_one_frame and domain == "in" and score.verdict == "one-frame":
            return Reason.HACKABLE, f"tpl_key {score.tpl_key:.3f} nats"
        return None
