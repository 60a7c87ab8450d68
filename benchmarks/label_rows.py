"""Every sample of the clips with its verdict."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.label_claims import Case
from benchmarks.label_films import TrueClip
from benchmarks.label_judge import Verdict, judge
from benchmarks.label_truth import Tolerance, owner

STRICT = Tolerance()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A sample and its verdict."""

    clip: str
    sample: str
    family: str
    risk: float
    verdict: Verdict
    question: str
    answer: str

    @property
    def is_judged(self) -> bool:
        return self.verdict.not_judged is None

    @property
    def is_right(self) -> bool:
        return not self.verdict.wrong


def judged(clips: Iterable[TrueClip], tolerance: Tolerance = STRICT) -> list[Row]:
    """All samples of the clips, those that cannot be judged as well."""
    return [row for clip in clips for row in _rows(clip, tolerance)]


def _rows(one: TrueClip, tolerance: Tolerance) -> Iterator[Row]:
    owners = {number: owner(track, one.truth.subjects, tolerance) for number, track in one.tracks.items()}
    for sample in one.samples:
        said = [message.content.removeprefix("<video>\n") for message in sample.messages]
        program = json.loads(sample.program)
        turns = program["turns"] if program["op"] == "conversation" else [program]
        pairs = list(zip(turns, said[::2], said[1::2], strict=True))
        cases = [
            Case(program=turn, question=question, answer=answer, owners=owners, truth=one.truth, tolerance=tolerance)
            for turn, question, answer in pairs
        ]
        yield Row(
            clip=one.clip_id,
            sample=sample.sample_id,
            family=f"{program['kind']} twin" if program["op"] == "twin" else sample.family,
            risk=sample.risk,
            verdict=together([judge(case) for case in cases]),
            question=" ".join(said[::2]),
            answer=" ".join(said[1::2]),
        )


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """Of the turns of a conversation, all of which must be judged."""
    unknown = next((v.not_judged for v in verdicts if v.not_judged), None)
    return Verdict(() if unknown else tuple(w for v in verdicts for w in v.wrong), unknown)
