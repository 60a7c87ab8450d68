"""How long is each sample of a mix in tokens, with how many frames does it fit, and which fit in no way?"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import pyarrow as pa

from pipeline.sources import SourceError
from pipeline.storage import store_errors
from pipeline.train.example import Length, Shape
from pipeline.train.frames import FrameSource, frame_source
from pipeline.train.mix import Candidate, DataSet
from pipeline.train.pictures import Unreadable
from pipeline.train.read_sample import BadTurns, TrainRow, turns_of
from pipeline.train.recipe import Data
from pipeline.train.row_groups import open_parquet
from schemas.time import spread
from schemas.train import RejectedSample
from stages.models.protocols import NotSeparable, TooLong

BATCH_ROWS = 256  # of messages in memory
Turns = tuple[tuple[str, str], ...]


class Ruler(Protocol):
    """Tells the length of a conversation without its pictures: exactly that of the example that is made of it."""

    def length(self, turns: Turns, shape: Shape | None, /) -> Length:
        """Raises NotSeparable, and may raise TooLong."""
        ...


@dataclass(frozen=True, slots=True)
class Measured:
    """A candidate with the number of frames that are shown of it."""

    candidate: Candidate
    n_frames: int
    length: Length


@dataclass(frozen=True, slots=True)
class Room:
    """What a sample may take."""

    max_frames: int
    max_length: int
    overlong: Literal["drop", "reduce_frames"]


class _Rejected(Exception):
    """Carries the reason and its detail."""


def measure(
    found: Sequence[Candidate], sets: Mapping[str, DataSet], ruler: Ruler, data: Data, max_length: int
) -> tuple[list[Measured], list[RejectedSample]]:
    """Each candidate in exactly one of the two lists; a row is read once, whatever the number of its epochs."""
    room = Room(data.max_frames, max_length, data.overlong)
    wanted: defaultdict[tuple[str, str], dict[int, list[Candidate]]] = defaultdict(dict)
    for candidate in found:
        wanted[candidate.source, candidate.shard].setdefault(candidate.row, []).append(candidate)
    measured: list[Measured] = []
    rejected: list[RejectedSample] = []
    sources = {name: frame_source(data_set, data.frames) for name, data_set in sets.items()}
    try:
        for (source, shard), own in wanted.items():
            for number, row in _rows(sets[source], shard, own):
                try:
                    n_frames, length = _fitting(row, sources[source], ruler, room)
                    measured += [Measured(candidate, n_frames, length) for candidate in own[number]]
                except _Rejected as error:
                    rejected += [_rejection(candidate, *error.args) for candidate in own[number]]
    finally:
        for frames in sources.values():
            frames.close()
    return measured, rejected


def _rows(data_set: DataSet, shard: str, wanted: Mapping[int, object]) -> Iterator[tuple[int, TrainRow]]:
    """The wanted rows of a shard with their numbers, in order."""
    path, first = data_set.folder / shard, 0
    try:
        for batch in open_parquet(path).iter_batches(BATCH_ROWS, columns=TrainRow.schema().names):
            own = [k for k in range(batch.num_rows) if first + k in wanted]
            rows = TrainRow.from_arrow(pa.table(batch).take(pa.array(own, pa.int64())))
            yield from zip((first + k for k in own), rows, strict=True)
            first += batch.num_rows
    except (ValueError, pa.ArrowException, *store_errors()) as error:
        raise SourceError(f"{path} cannot be read: {error}; run utr verify") from error


def _fitting(row: TrainRow, frames: FrameSource, ruler: Ruler, room: Room) -> tuple[int, Length]:
    """Frames and length of a sample as it is trained on: fewer frames where the recipe reduces them."""
    try:
        turns = turns_of(row.messages)
        whole = frames.shape(row)
    except BadTurns as error:
        raise _Rejected("bad_turns", str(error)) from error
    except Unreadable as error:
        raise _Rejected("unreadable", str(error)) from error

    def length(n_frames: int) -> Length | None:
        """None where it is too long."""
        shape = whole and replace(whole, index=spread(whole.n_frames, n_frames))
        try:
            found = ruler.length(turns, shape)
        except TooLong:
            return None
        return found if found.n_tokens <= room.max_length else None

    most = min(whole.n_frames, room.max_frames) if whole else 0
    is_reducible = room.overlong == "reduce_frames" and whole is not None and whole.kind == "video"
    try:
        n_frames, fitting = most, length(most)
        if fitting is None and is_reducible:
            n_frames, fitting = _most_that_fit(length, most)
    except NotSeparable as error:
        raise _Rejected("not_separable", str(error)) from error
    if fitting is None:
        what = "with one frame" if is_reducible else f"with {most} frames" if whole else "of text"
        raise _Rejected("too_long", f"over {room.max_length} tokens {what}")
    if not fitting.n_labels:
        raise _Rejected("no_label", "no token is to be predicted")
    return n_frames, fitting


def _most_that_fit(length: Callable[[int], Length | None], above: int) -> tuple[int, Length | None]:
    """The most frames under `above` that fit, by halving: more frames are never shorter."""
    low, high, found = 0, above, None  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        now = length(middle)
        low, high, found = (middle, high, now) if now else (low, middle, found)
    return low, found


def _rejection(candidate: Candidate, reason: str, detail: str) -> RejectedSample:
    return RejectedSample(
        source=candidate.source, sample_id=candidate.sample_id, step=None, reason=reason, detail=detail, reserve=None
    )
