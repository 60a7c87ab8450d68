"""Recomputes every answer of a built data set from its shards alone: no model, no video, no torch, no ray.

A sample is proved when its program, run again over the tracks of its clip, gives its question, answer, reward and
evidence to the letter. Hashes only say that a file is the one that was written; the proof says that it follows.
"""

from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.publish import read_manifest
from pipeline.sealed import Problem, Sealed
from pipeline.shards import problems
from pipeline.storage import Place, is_there, store_errors
from pipeline.verify_rows import is_given, row_problems
from pipeline.verify_scores import score_problems
from pipeline.verify_set import set_problems
from schemas.outcome import Outcome
from schemas.row import Record
from schemas.sample import PublishedClip, PublishedSample, PublishedScore

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`proved` samples follow from their program; `given` ones came with the videos and have none."""

    samples: int
    proved: int
    given: int
    scores: int
    problems: tuple[Problem, ...]


class NotADataSet(ValueError):
    """The folder holds no finished build."""


class _Unreadable(Exception):
    """A table is there, but is not Parquet of its schema."""


def verify(out: Place) -> Verdict:
    """Checks files, tracks, samples and scores of a built folder; raises NotADataSet where there is none.

    What the shards cannot prove, because only the video, the model or the user's input knows it:
    - a box that moves inside its ninth, and an action, at moments that no planned frame shows and no text tells of;
      a subject's name and appearance against its pixels; risks of tracks and actions;
    - a uri, an end_tick or a time base that is changed for a whole video or clip and contradicts nothing else:
      no second video at the uri, no failure under the old one, no moment, frame, text or next clip outside the span;
    - scorer_domain of two clips exchanged, or of any clip where as many clips as differ have no published sample;
    - token log-probabilities changed together with all that follows from them, and token ids of a target changed
      in all contexts and in its clip: text is not tokenised again; which samples were within the scoring budget;
    - texts and rewards that were given with a video, changed together, and packed frames;
    - the last samples of a clip, dropped with their scores, and whether a sample that is listed as dropped had to be.
    Captions are proved, and spans of clips known, where a clip has a published sample. The manifest is believed in
    its thresholds and counts: who changes those too, and all that follows, has written another data set.
    """
    try:
        return _verdict(out)
    except store_errors() as error:
        raise NotADataSet(f"{out}: cannot be read: {error}") from error


def _verdict(out: Place) -> Verdict:
    if not is_there(out / "manifest.json"):
        raise NotADataSet(f"{out}: no manifest.json; build it, or finish the build, with utr build --out {out}")
    manifest = read_manifest(out)
    files = tuple(Problem("files", what) for what in problems(out, manifest))
    try:
        data = Sealed(
            manifest,
            clips=_rows(out, "clips", PublishedClip),
            samples=_rows(out, "data", PublishedSample),
            scores=_rows(out, "scores", PublishedScore),
            outcomes=_rows(out, "failures", Outcome),
        )
    except _Unreadable as error:
        return Verdict(samples=0, proved=0, given=0, scores=0, problems=(*files, Problem("files", str(error))))
    wrong = (*set_problems(data), *row_problems(data), *score_problems(data))
    bad = {p.key for p in wrong}
    programs = [s for s in data.samples if not is_given(s)]
    return Verdict(
        samples=len(data.samples),
        proved=sum(s.sample_id not in bad for s in programs),
        given=len(data.samples) - len(programs),
        scores=len(data.scores),
        problems=(*files, *wrong),
    )


def _rows(out: Place, table: str, row: type[R]) -> list[R]:
    """All rows of a table, without the columns that verify does not look at."""
    files = sorted((out / table).glob("*.parquet"))
    if not files:
        raise NotADataSet(f"{out / table}: no Parquet files")
    try:
        return row.from_arrow(pa.concat_tables(_columns(f, row) for f in files))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _Unreadable(f"{table}/ cannot be read: {error}") from error


def _columns(file: Place, row: type[Record]) -> pa.Table:
    with file.open("rb") as opened:
        return pq.read_table(opened, columns=row.schema().names)
