"""Which frames of a video are the texts about it read with? Texts about one span share them."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from schemas.outcome import Reason, Skip
from schemas.pair import PairClip, PairSource, Text
from schemas.time import spread
from stages.base import Resources, Stage
from stages.decode_clip import store_size
from stages.media.child import Limits, ReadError
from stages.media.facts import Packets, StreamFacts
from stages.media.reader import Reader


@dataclass(frozen=True, kw_only=True)
class PlanPairs(Stage[PairSource, PairClip, Reader]):
    """Probes a video and makes a row of each span that texts are about, with `plan_frames` frames evenly spread."""

    plan_frames: int = 8
    max_side_px: int = 480  # of the stored frames
    timeout_s: float = 300.0
    memory_gb: float = 2.0

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=0.25, memory_gb=1.0)
    operational: ClassVar[frozenset[str]] = frozenset({"timeout_s", "memory_gb"})

    def __post_init__(self) -> None:
        if self.plan_frames < 2 or self.max_side_px < 16:
            raise ValueError(f"plan_frames={self.plan_frames} >= 2, max_side_px={self.max_side_px} >= 16 is asked for")

    def open(self) -> Reader:
        return Reader(Limits(timeout_s=self.timeout_s, memory_gb=self.memory_gb))

    def close(self, reader: Reader) -> None:
        reader.close()

    def process(self, reader: Reader, sources: Sequence[PairSource], /) -> list[Skip | list[PairClip | Skip]]:
        return [self._planned(reader, source) for source in sources]

    def _planned(self, reader: Reader, source: PairSource) -> Skip | list[PairClip | Skip]:
        facts = reader.probe(source.location)
        if facts is None:
            return Skip(Reason.NO_VIDEO_STREAM, "no stream of moving pictures")
        packets = reader.packets(source.location)
        groups = by_span(source.texts)
        return [self._clip(source, facts, packets, k, texts) for k, texts in enumerate(groups)]

    def _clip(
        self, source: PairSource, facts: StreamFacts, packets: Packets, index: int, texts: tuple[Text, ...]
    ) -> PairClip | Skip:
        start, end = _ticks(texts[0], facts)
        own = packets.ticks[bisect_left(packets.ticks, start) : bisect_left(packets.ticks, end)]
        given = texts[0].frame_tick
        plan = given or tuple(own[i] for i in spread(len(own), self.plan_frames))
        if strange := sorted(set(given) - set(own)):
            raise ReadError(
                f"{source.location}: tick {strange[0]} of the given plan is no frame of the span {start}..{end}; "
                "this is not the film that the plan was made for"
            )
        if len(plan) < 2:
            return Skip(Reason.TOO_FEW_FRAMES, f"{len(own)} frames in the span {_span_text(texts[0], facts)}")
        width_px, height_px = store_size(facts.width_px, facts.height_px, self.max_side_px)
        start, end = (start, end) if given else (max(start, facts.start_tick), min(end, facts.end_tick))
        return PairClip(
            uri=source.uri,
            location=source.location,
            span_index=index,
            video_id=facts.video_id,
            clip_id=f"{facts.video_id[:16]}-t{start}-{end}",
            start_tick=start,
            end_tick=end,
            time_base_num=facts.time_base_num,
            time_base_den=facts.time_base_den,
            frame_tick=plan,
            store_width_px=width_px,
            store_height_px=height_px,
            texts=texts,
        )


def by_span(texts: Sequence[Text]) -> list[tuple[Text, ...]]:
    """Texts that share a watch, in the order of the first of each."""
    groups: dict[object, list[Text]] = {}
    for text in texts:
        groups.setdefault(text.span, []).append(text)
    return [tuple(group) for group in groups.values()]


def _ticks(text: Text, facts: StreamFacts) -> tuple[int, int]:
    """The span in ticks, half-open; seconds count from the first frame, as players count them."""
    if text.start_tick is not None and text.end_tick is not None:
        return text.start_tick, text.end_tick
    second = Fraction(facts.time_base_den, facts.time_base_num)

    def tick(at_s: float) -> int:
        return facts.start_tick + round(Fraction(at_s) * second)

    start = facts.start_tick if text.start_s is None else tick(text.start_s)
    end = facts.end_tick if text.end_s is None else tick(text.end_s)
    return start, end


def _span_text(text: Text, facts: StreamFacts) -> str:
    length_s = float(Fraction(facts.time_base_num, facts.time_base_den) * (facts.end_tick - facts.start_tick))
    start_s = 0.0 if text.start_s is None else text.start_s
    end_s = length_s if text.end_s is None else text.end_s
    return f"{start_s:.2f}..{end_s:.2f} s of {length_s:.2f} s"
