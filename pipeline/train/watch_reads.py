"""Held-out samples as they are read while training: which ones, with which frames, in which packs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pyarrow.compute as pc

from pipeline.sources import SourceError
from pipeline.train.choices import choice
from pipeline.train.example import NO_LABEL, Conversation, Example, Media, Pack
from pipeline.train.frames import FrameSource
from pipeline.train.mix import DataSet
from pipeline.train.probes import ANSWER, SOURCE, Reading, readings
from pipeline.train.read_sample import turns_of
from pipeline.train.row_groups import open_parquet
from schemas.sample import PublishedSample
from schemas.time import spread
from stages.algorithms.draws import stable_hash
from stages.algorithms.tpl import Context

IS_HELD_OUT = pc.field("split") == "validation"


class Encodes(Protocol):
    def encode(self, conversation: Conversation) -> Example: ...


@dataclass(frozen=True, slots=True)
class Collate:
    """How examples become packs, and what keeps a rank in step that has none."""

    pack: Callable[[Sequence[Example]], Pack]
    dummy: Callable[[], Pack]
    micro_tokens: int
    micro_tiles: int
    end_id: int  # the token that ends an answer


@dataclass(frozen=True, slots=True)
class Job:
    """One forward: readings of one sample."""

    row: int  # of the sample
    readings: tuple[Reading, ...]
    pack: Pack


@dataclass(frozen=True, slots=True)
class Reads:
    """What is read of a sample. `encoder` labels answers only, whatever is trained on: a template's headers and
    newlines need no film."""

    frames: FrameSource
    encoder: Encodes
    collate: Collate
    max_frames: int  # evenly chosen of a plan that has more

    def jobs(self, row: int, sample: PublishedSample) -> Iterator[Job]:
        """Forwards of one sample; raises Unreadable, BadTurns, TooLong, NotSeparable."""
        for part in _parts(self._examples(sample), self.collate):
            yield Job(row, tuple(r for r, _ in part), self.collate.pack([e for _, e in part]))

    def _examples(self, sample: PublishedSample) -> Iterator[tuple[Reading, Example]]:
        turns, asked = turns_of(sample.messages), choice(sample)
        n_plan = len(sample.frame_tick)
        media = self.frames.media(sample, spread(n_plan, min(n_plan, self.max_frames)))
        for reading in readings(len(media.index) if media else 0, sample.sample_id, asked):
            shown = media and film(media, reading.context)
            option = asked if reading.name == ANSWER else None
            said = ((turns[0][0], option.answers[reading.number]),) if option else turns
            example = self.encoder.encode(Conversation(SOURCE, sample.sample_id, sample.family, said, shown))
            yield reading, open_ended(example, self.collate.end_id) if option and option.goes_on else example


def held_out(data_set: DataSet, n: int) -> list[PublishedSample]:
    """The `n` samples of a set's validation split whose ids have the smallest hashes: the same in every run."""
    ids: list[str] = []
    for shard in data_set.shards("data"):
        columns = open_parquet(data_set.folder / shard).read(["sample_id", "split"])
        ids += columns.filter(IS_HELD_OUT)["sample_id"].to_pylist()
    if not ids:
        raise SourceError(f"watch: {data_set.folder} has no sample of the validation split; name another set")
    drawn = sorted(ids, key=lambda sample_id: (stable_hash(f"watch/{sample_id}"), sample_id))[:n]
    rows: list[PublishedSample] = []
    for shard in data_set.shards("data"):
        table = open_parquet(data_set.folder / shard).read()
        rows += PublishedSample.from_arrow(table.filter(pc.field("sample_id").isin(drawn)))
    return sorted(rows, key=lambda sample: drawn.index(sample.sample_id))


def film(media: Media, context: Context) -> Media:
    """The frames of a context. A changed film is called as the unchanged one is, in the order shown, and has its clock,
    as contexts have the plan's where they are scored."""
    names = [k - 1 for k in context.names]
    return replace(
        media,
        frames_THWC=media.frames_THWC[list(context.index)],
        index=tuple(media.index[k] for k in names),
        film=media.index,
    )


def open_ended(example: Example, end_id: int) -> Example:
    """The same, without the label of the answer's end mark and of what follows it."""
    ends = np.flatnonzero(example.label_S == end_id)
    if not len(ends):
        return example
    label_S = example.label_S.copy()
    label_S[ends[-1] :] = NO_LABEL
    return replace(example, label_S=label_S)


def _parts(examples: Iterable[tuple[Reading, Example]], collate: Collate) -> Iterator[list[tuple[Reading, Example]]]:
    """As many, in order, as a pack may hold; a larger one alone."""
    waiting: list[tuple[Reading, Example]] = []
    tokens = tiles = 0
    for reading, example in examples:
        n_tokens = len(example.token_id_S)
        n_tiles = len(example.tiles.tiles_NHWC) if example.tiles else 0
        if waiting and (tokens + n_tokens > collate.micro_tokens or tiles + n_tiles > collate.micro_tiles):
            yield waiting
            waiting, tokens, tiles = [], 0, 0
        waiting.append((reading, example))
        tokens, tiles = tokens + n_tokens, tiles + n_tiles
    if waiting:
        yield waiting
