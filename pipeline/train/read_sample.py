"""Samples of sealed sets, one by one: their turns and their pictures, from rows and clips at random."""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from pipeline.formats.records import unmarked
from pipeline.ledger import PlanChanged
from pipeline.storage import store_errors
from pipeline.train.example import Conversation
from pipeline.train.frames import frame_source
from pipeline.train.mix import DataSet
from pipeline.train.pictures import Unreadable
from pipeline.train.row_groups import RowGroups
from schemas.row import Record
from schemas.sample import Message
from schemas.time import spread
from schemas.train import PlannedSample

ROLES = ("user", "assistant")


class BadTurns(ValueError):
    """The messages are no conversation to learn from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRow(Record):
    """What the trainer reads of a row of data/*.parquet."""

    sample_id: str
    video_id: str
    clip_id: str
    uri: str
    start_tick: int
    time_base_num: int
    time_base_den: int
    frame_tick: tuple[int, ...]
    frame_order: tuple[int, ...] | None
    mirrored: bool
    family: str
    messages: tuple[Message, ...]


def turns_of(messages: tuple[Message, ...]) -> tuple[tuple[str, str], ...]:
    """(question, answer) pairs without marks of the medium; raises BadTurns."""
    roles = tuple(message.role for message in messages)
    if not roles or roles != ROLES * (len(roles) // 2):
        raise BadTurns(f"the roles are {', '.join(roles) or '(none)'}; user and assistant speak in turn")
    said = [message.content for message in messages]
    if not all(answer.strip() for answer in said[1::2]):
        raise BadTurns("an answer is empty")
    return tuple(zip(map(unmarked, said[::2]), said[1::2], strict=True))


class SampleReader:
    """The samples of one set. Holds open files and a decoder: one process each."""

    def __init__(self, data_set: DataSet, frames: Literal["packed", "films"]) -> None:
        self._data_set = data_set
        self._rows = RowGroups(data_set.folder, tuple(TrainRow.schema().names))
        self.frames = frame_source(data_set, frames)

    def conversation(self, planned: PlannedSample) -> Conversation:
        """The sample with the frames that the plan shows of it; raises Unreadable, or PlanChanged where another sample
        lies in its place."""
        row = self._row(planned)
        try:
            turns = turns_of(row.messages)
        except BadTurns as error:
            raise Unreadable(str(error)) from error
        index = spread(len(row.frame_tick), planned.n_frames)
        media = self.frames.media(row, index)
        return Conversation(planned.source, row.sample_id, row.family, turns, media)

    def close(self) -> None:
        self._rows.close()
        self.frames.close()

    def _row(self, planned: PlannedSample) -> TrainRow:
        where = f"{self._data_set.folder / planned.shard}, row {planned.row}"
        try:
            (row,) = TrainRow.from_arrow(self._rows.row(planned.shard, planned.row))
        except (IndexError, ValueError, pa.ArrowException, *store_errors()) as error:
            raise Unreadable(f"{where}: {error}") from error
        if row.sample_id != planned.sample_id:
            raise PlanChanged(f"{where}: holds {row.sample_id}, the plan says {planned.sample_id}; plan again")
        return row
