"""Chosen records of an input in its own format, unchanged: who trains on LLaVA's or VideoChat2's JSON can go on."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.shards import sha256, writing
from pipeline.sources import SourceError, read_text
from schemas.pair import InputFacts

RECORDS = "records"  # of a set: apart from its manifest and shards, whatever files of the input are called


def check_input(given: InputFacts) -> None:
    """Raises SourceError where a file of the input is gone or not the one that was read."""
    for file in given.files:
        path = input_file(given, file.path)
        if not path.is_file():
            raise SourceError(f"{path}: the input that was scored is gone; put it back, or score again")
        if sha256(path) != file.sha256:
            raise SourceError(f"{path}: the input has changed since it was scored; score again")


def input_file(given: InputFacts, file: str) -> Path:
    """Where a file of the input lies."""
    return Path(given.path) / file if file else Path(given.path)


def write_records(given: InputFacts, chosen: Mapping[str, list[int]], to: Path) -> list[Path]:
    """Writes the records with these numbers, by file and in their order, under to/records; what was written."""
    written = []
    for file, records in sorted(chosen.items()):
        path = input_file(given, file)
        target = to / RECORDS / (file or path.name)
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _WRITERS[path.suffix.lower()](path, sorted(records), target)
        written.append(target)
    return written


def _json(path: Path, records: list[int], target: Path) -> None:
    found = json.loads(path.read_text(encoding="utf-8-sig"))
    text = json.dumps([found[k] for k in records], ensure_ascii=False, indent=1)
    # Half a surrogate pair, which a record that is not scored for its note may hold, stays the escape that it was.
    target.write_bytes(f"{text}\n".encode("utf-8", "backslashreplace"))


def _jsonl(path: Path, records: list[int], target: Path) -> None:
    lines = [line for line in read_text(path).split("\n") if line.strip()]
    target.write_text("".join(f"{lines[k].rstrip()}\n" for k in records), encoding="utf-8")


def _csv(path: Path, records: list[int], target: Path) -> None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        head, *rows = [row for row in csv.reader(file, strict=True) if row]
    with target.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *(rows[k] for k in records)])


def _parquet(path: Path, records: list[int], target: Path) -> None:
    pq.write_table(pq.read_table(path).take(pa.array(records, pa.int64())), target)


_WRITERS = {".json": _json, ".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
