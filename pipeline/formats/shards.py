"""Our own shards: every assistant turn of every sample is a target, read with exactly the frames of its row."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.formats.records import Gathered, Place, Rejected, empty_turn, unmarked
from pipeline.shards import sha256
from pipeline.sources import SourceError
from schemas.manifest import MANIFEST, Manifest
from schemas.pair import InputFile, Text
from schemas.sample import PublishedSample
from schemas.video import QA


def root_of(out: Path) -> str:
    """What the uris of a build are relative to, as its manifest says."""
    path = out / MANIFEST
    if not path.is_file():
        raise SourceError(f"{out} has no {MANIFEST}: say where its videos lie with --videos")
    try:
        return Manifest.from_json(path.read_text(encoding="utf-8")).videos_root or "/"
    except ValueError as error:
        raise SourceError(f"{path} is no manifest of ours: {error}; give the --out folder of a build") from error


def gather(out: Path, gathered: Gathered) -> list[InputFile]:
    """Reads all shards of out/data; raises SourceError where one is no table of samples, or an id occurs twice."""
    files = sorted((out / "data").glob("*.parquet"))
    if not files:
        raise SourceError(f"{out}/data holds no Parquet file; give the --out folder of a build")
    found = []
    for file in files:
        relative = file.relative_to(out).as_posix()
        try:
            samples = PublishedSample.from_arrow(pq.read_table(file))
        except (pa.ArrowInvalid, ValueError) as error:
            raise SourceError(f"{file}: no table of samples: {error}") from error
        for number, sample in enumerate(samples):
            _add(sample, Place(file, relative, number), gathered)
        found.append(InputFile(path=relative, sha256=sha256(file), records=len(samples)))
    return found


def _add(sample: PublishedSample, place: Place, gathered: Gathered) -> None:
    said = sample.messages
    roles = [message.role for message in said]
    if sample.twin is not None:
        detail = f"{place}: its frames are shown otherwise ({sample.twin}); the film itself is what is scored"
        gathered.reject(Rejected(sample.sample_id, sample.uri, "Twin", detail), place)
        return
    if roles != ["user", "assistant"] * (len(roles) // 2) or not roles:
        detail = f"{place}: the roles are {', '.join(roles) or '(none)'}; user and assistant speak in turn"
        gathered.reject(Rejected(sample.sample_id, sample.uri, "BadTurns", detail), place)
        return
    history: tuple[QA, ...] = ()
    for k in range(len(said) // 2):
        question, answer = unmarked(said[2 * k].content), said[2 * k + 1].content
        text = _text(sample, place, k, question, answer, history)
        empty = empty_turn(text)
        if empty is None:
            gathered.take(sample.uri, text, place)
        else:
            why = f"{place}: turn {empty} has an empty answer"
            gathered.reject(Rejected(text.pair_id, sample.uri, "EmptyAnswer", why), place)
        history = (*history, QA(question=question, answer=answer))


def _text(
    sample: PublishedSample, place: Place, turn: int, question: str, answer: str, history: tuple[QA, ...]
) -> Text:
    return Text(
        pair_id=f"{sample.sample_id}-t{turn:02d}",
        sample_id=sample.sample_id,
        file=place.file,
        record=place.record,
        subset=sample.family,
        kind="dialogue" if len(sample.messages) > 2 else "question",
        turn=turn,
        question=question,
        answer=answer,
        history=history,
        start_s=None,
        end_s=None,
        start_tick=sample.start_tick,
        end_tick=sample.end_tick,
        frame_tick=sample.frame_tick,
    )
