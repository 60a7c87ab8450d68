"""Ask about a clip's subjects in both directions, and answer from the tracks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from schemas.outcome import Reason, Skip
from schemas.sample import ComposedClip, Drop, Message, Sample, ScoredClip
from stages.algorithms.asking import MAX_RISK, to_json
from stages.algorithms.compose import compose
from stages.algorithms.phrasing import MOST
from stages.algorithms.questions import FAMILIES
from stages.base import Resources, Stage
from stages.caption_clip import scene_of


@dataclass(frozen=True, kw_only=True)
class ComposeSamples(Stage[ScoredClip, ComposedClip, None]):
    """Adds samples: the composer's, and the questions that came with the video where the clip is the whole of it."""

    seed: int = 0
    caption_share: float = 0.3  # of the record questions, which also ask what happens
    max_subjects: int = 6  # of a clip that are asked about
    max_risk: float = MAX_RISK  # label risk above which we abstain
    families: tuple[str, ...] = tuple(FAMILIES)  # that are composed
    wordings: int = 1  # of a question, drawn from 1 to 3: the composer's own, and others
    max_twins: int = 5  # questions of a clip that are asked again of its twins

    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources(cpus=0.25, batch_rows=8)

    def __post_init__(self) -> None:
        if not (0 <= self.caption_share <= 1 and 0 <= self.max_risk <= 1 and self.max_subjects >= 1):
            raise ValueError(
                f"caption_share={self.caption_share:g} and max_risk={self.max_risk:g} lie in 0..1, "
                f"max_subjects={self.max_subjects} is at least 1"
            )
        if not (1 <= self.wordings <= MOST + 1 and self.max_twins >= 0):
            raise ValueError(f"wordings={self.wordings} is 1 to {MOST + 1}, max_twins={self.max_twins} at least 0")
        if unknown := sorted(set(self.families) - set(FAMILIES)):
            raise ValueError(f"families: unknown {', '.join(unknown)}; known: {', '.join(FAMILIES)}")

    def process(self, _: None, clips: Sequence[ScoredClip], /) -> list[ComposedClip | Skip]:
        return [self._composed(clip) for clip in clips]

    def _composed(self, clip: ScoredClip) -> ComposedClip | Skip:
        curve = next((s.curve for s in clip.caption_scores if s.target_id.endswith("/global")), None)
        samples = compose(
            scene_of(clip),
            clip_id=clip.clip_id,
            seed=self.seed,
            caption_share=self.caption_share,
            max_subjects=self.max_subjects,
            all_tracked=clip.rejected == 0,
            curve=curve,
            families=self.families,
            steady_camera=clip.camera == "static",
            wordings=self.wordings,
            max_twins=self.max_twins if "twin" in self.families else 0,
        )
        given = _given(clip)
        sure = [s for s in samples if s.risk <= self.max_risk]
        if not sure and not given:
            why = f"{len(samples)} questions with one answer, none under label risk {self.max_risk:g}"
            return Skip(Reason.NOTHING_TO_SAY, f"{len(clip.trajectories)} tracks, {why}")
        drops = tuple(self._risky(s) for s in samples if s not in sure)
        return clip.extend(ComposedClip, samples=(*sure, *given), drops=drops)

    def _risky(self, sample: Sample) -> Drop:
        detail = f"risk {sample.risk:.2f} > {self.max_risk:g}"
        return Drop(key=sample.sample_id, stage="ComposeSamples", reason=Reason.LABEL_RISK, detail=detail)


def _given(clip: ScoredClip) -> tuple[Sample, ...]:
    """The manifest's own questions, where the clip is the whole video; elsewhere they ended with the split."""
    return tuple(_given_sample(clip, k) for k in range(len(clip.qa_given))) if clip.is_whole_video else ()


def _given_sample(clip: ScoredClip, k: int) -> Sample:
    qa = clip.qa_given[k]
    return Sample(
        sample_id=f"{clip.clip_id}-m{k:03d}",
        group_id=f"{clip.clip_id}-m{k:03d}",
        family="given",
        direction="question->answer",
        answer_type="text",
        messages=(
            Message(role="user", content=f"<video>\n{qa.question}"),
            Message(role="assistant", content=qa.answer),
        ),
        program=to_json({"op": "given", "source": "manifest"}),
        evidence=to_json({"tracks": [], "frames": []}),
        reward=to_json({"kind": "exact", "value": qa.answer}),
        risk=0.0,
    )
