"""What verify must catch, with all hashes made right again after the change."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.verify import NotADataSet, verify

Rows = list[dict[str, Any]]


def _rewrite(out: Path, table: str, change: Callable[[Rows], None]) -> None:
    """Changes the rows of a table and makes the manifest agree with the new bytes."""
    manifest = json.loads((out / "manifest.json").read_text())
    for shard in manifest["shards"]:
        if shard["table"] != table:
            continue
        path = out / shard["path"]
        old = pq.read_table(path)
        rows = old.to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, schema=old.schema), path)
        shard["bytes"] = path.stat().st_size
        shard["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (out / "manifest.json").write_text(json.dumps(manifest))


def _of(rows: Rows, family: str) -> dict[str, Any]:
    return next(r for r in rows if r["family"] == family)


def _in_answer(family: str, old: str, new: str) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        row = next(r for r in rows if r["family"] == family and old in r["messages"][1]["content"])
        row["messages"][1]["content"] = row["messages"][1]["content"].replace(old, new, 1)

    return change


def _box_in_track(rows: Rows) -> None:
    """A box in the middle of a track, and in bounds, moves by 5 % of the frame."""
    track = rows[0]["tracks"][0]
    for moment in track["moments"]:
        x1, y1, x2, y2 = moment["box_xyxy_px"]
        shift = (
            -0.05 * track["frame_width_px"] if x1 > 0.05 * track["frame_width_px"] else 0.05 * track["frame_width_px"]
        )
        moment["box_xyxy_px"] = [x1 + shift, y1, x2 + shift, y2]


def _label(rows: Rows) -> None:
    rows[0]["tracks"][0]["appearance"] = "small purple"


def _action(rows: Rows) -> None:
    for moment in rows[0]["tracks"][0]["moments"]:
        moment["action"] = "moving up left" if moment["action"] != "moving up left" else "moving down"


def _frame_time(rows: Rows) -> None:
    """All samples of a clip agree on wrong frame times."""
    clip = rows[0]["clip_id"]
    for row in rows:
        if row["clip_id"] == clip:
            row["frame_tick"] = [*row["frame_tick"][:-1], row["frame_tick"][-1] - 1]


def _start(rows: Rows) -> None:
    clip = _of(rows, "record")["clip_id"]
    for row in rows:
        if row["clip_id"] == clip:
            row["start_tick"] -= 100_000


def _option(rows: Rows) -> None:
    row = _of(rows, "direction")
    row["messages"][0]["content"] = row["messages"][0]["content"].replace("(A) ", "(A) not ")


def _swapped_options(rows: Rows) -> None:
    """Options in another order, in text and program, but the letter stays."""
    row = _of(rows, "direction")
    program = json.loads(row["program"])
    program["options"] = program["options"][1:] + program["options"][:1]
    row["program"] = json.dumps(program, sort_keys=True, separators=(",", ":"))


def _tpl(rows: Rows) -> None:
    next(r for r in rows if r["tpl"] is not None)["tpl"] += 0.5


def _twice(rows: Rows) -> None:
    rows.append(rows[0])


MUTATIONS: dict[str, tuple[str, Callable[[Rows], None]]] = {
    "a box in an answer": ("data", _in_answer("where", ":[", ":[1")),
    "a box in a track": ("clips", _box_in_track),
    "a label in an answer": ("data", _in_answer("record", "It is the ", "It is the very ")),
    "a label in a track": ("clips", _label),
    "an action in a track": ("clips", _action),
    "a time in an answer": ("data", _in_answer("when", ".", ".9")),
    "a frame time": ("data", _frame_time),
    "the clip's start": ("data", _start),
    "an option's text": ("data", _option),
    "the options' order": ("data", _swapped_options),
    "a score": ("data", _tpl),
    "a sample twice": ("data", _twice),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_mutation_with_right_hashes_is_caught(what: str, built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(built, out, ignore=shutil.ignore_patterns("_work"))
    table, change = MUTATIONS[what]
    _rewrite(out, table, change)
    assert verify(out).problems, what


def test_rewriting_alone_is_no_problem(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(built, out, ignore=shutil.ignore_patterns("_work"))
    _rewrite(out, "data", lambda rows: None)
    assert verify(out).problems == ()


def test_a_changed_byte_is_caught(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(built, out, ignore=shutil.ignore_patterns("_work"))
    path = next((out / "failures").glob("*.parquet"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert any(path.name in p.what for p in verify(out).problems)


def test_a_folder_without_a_build_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotADataSet, match=r"no manifest.json"):
        verify(tmp_path)
