"""Texts that came with videos as rows of the shard schema: a conversation a sample, nothing composed, nothing proved.

Images are one-frame clips (stages/plan_images.py); the mark `<video>` stands before their first question, too: it says
where the pictures stand, not of which kind they are. Which rows are images follows from the suffix of the uri: scorers
read them as films of one frame, the trainer shows them as images. Texts about no medium have an empty uri, no frames
and no mark; what stands for their video is the hash of what is said.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.publish import split_of
from schemas.pair import PairClip, PairScore, Text
from schemas.sample import Message, PublishedSample
from stages.algorithms.asking import to_json


class Span(Protocol):
    """Where a conversation's film lies, and the frames of its plan."""

    @property
    def uri(self) -> str: ...
    @property
    def video_id(self) -> str: ...
    @property
    def clip_id(self) -> str: ...
    @property
    def start_tick(self) -> int: ...
    @property
    def end_tick(self) -> int: ...
    @property
    def time_base_num(self) -> int: ...
    @property
    def time_base_den(self) -> int: ...
    @property
    def frame_tick(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What a sample's columns say of its score: sums over all its assistant turns."""

    tpl: float | None = None
    tpl_key: float | None = None
    hackability: float | None = None  # of a sample with one turn
    verdict: str | None = None  # of a sample whose turns agree
    scorer: str = ""
    scorer_domain: str = ""


def scores_of(rows: Sequence[PairScore]) -> Scores:
    """The columns of a sample from the scores of its turns."""
    verdicts = {row.verdict for row in rows}
    return Scores(
        tpl=_sum([row.tpl for row in rows]),
        tpl_key=_sum([row.tpl_key for row in rows]),
        hackability=rows[0].hackability if len(rows) == 1 else None,
        verdict=verdicts.pop() if len(verdicts) == 1 else None,
        scorer=f"{rows[0].scorer}@{rows[0].revision}",
        scorer_domain=_domain({row.scorer_domain for row in rows}),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    """Null where one is."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _domain(found: set[str]) -> str:
    """What all turns say; else the worst of it: one turn outside puts the sample outside."""
    return next(iter(found)) if len(found) == 1 else "out" if "out" in found else "unknown"


def scored_samples(rows: Iterable[PairScore], source: str) -> list[PublishedSample]:
    """A sample for each conversation of these rows."""
    found: defaultdict[str, list[PairScore]] = defaultdict(list)
    for row in rows:
        found[row.sample_id].append(row)
    return [_of_turns(sample_id, sorted(own, key=lambda r: r.turn), source) for sample_id, own in found.items()]


def unscored_samples(clip: PairClip, source: str) -> list[PublishedSample]:
    """A sample for each conversation about a span."""
    found: defaultdict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for text in clip.texts:
        found[text.sample_id].append((text.turn, text.question, text.answer))
    return [
        given_sample(clip, sample_id, [(q, a) for _, q, a in sorted(own)], source, Scores())
        for sample_id, own in found.items()
    ]


def text_samples(texts: Iterable[Text], source: str) -> list[PublishedSample]:
    """A sample for each conversation about nothing that is seen. Equal ones are of one "video": of one split."""
    found: defaultdict[str, list[Text]] = defaultdict(list)
    for text in texts:
        found[text.sample_id].append(text)
    return [sample for own in found.values() for sample in unscored_samples(_text_clip(tuple(own)), source)]


def _text_clip(texts: tuple[Text, ...]) -> PairClip:
    said = "\x00".join(part for text in texts for part in (text.question, text.answer))
    text_id = hashlib.sha256(said.encode()).hexdigest()
    return PairClip(
        uri="",
        location="",
        span_index=0,
        video_id=text_id,
        clip_id=f"{text_id[:16]}-text",
        start_tick=0,
        end_tick=0,
        time_base_num=1,
        time_base_den=1,
        frame_tick=(),
        store_width_px=0,
        store_height_px=0,
        texts=texts,
    )


def given_sample(
    span: Span, sample_id: str, turns: Sequence[tuple[str, str]], source: str, scores: Scores
) -> PublishedSample:
    """The row of one conversation of (question, answer) turns."""
    said = [text for turn in turns for text in turn]
    mark = "<video>\n" if span.frame_tick else ""
    messages = tuple(
        Message(role="assistant" if k % 2 else "user", content=text if k else f"{mark}{text}")
        for k, text in enumerate(said)
    )
    return PublishedSample(
        sample_id=sample_id,
        video_id=span.video_id,
        clip_id=span.clip_id,
        group_id=sample_id,
        uri=span.uri,
        start_tick=span.start_tick,
        end_tick=span.end_tick,
        time_base_num=span.time_base_num,
        time_base_den=span.time_base_den,
        frame_tick=span.frame_tick,
        family="given",
        direction="question->answer",
        answer_type="text",
        messages=messages,
        program=to_json({"op": "given", "source": source}),
        evidence=to_json({"tracks": [], "frames": []}),
        reward=to_json({"kind": "exact", "value": said[-1]}),
        tpl=scores.tpl,
        tpl_key=scores.tpl_key,
        hackability=scores.hackability,
        verdict=scores.verdict,
        risk=0.0,
        scorer=scores.scorer,
        scorer_domain=scores.scorer_domain,
        describer=source,
        split=split_of(span.video_id),
    )


def _of_turns(sample_id: str, rows: list[PairScore], source: str) -> PublishedSample:
    return given_sample(rows[0], sample_id, [(r.question, r.answer) for r in rows], source, scores_of(rows))
