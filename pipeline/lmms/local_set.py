"""Held-out samples of a data set as a task of lmms-eval: a folder that needs no network and nothing of this package."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.publish import read_manifest
from pipeline.storage import Place, write, writing
from pipeline.verify import NotADataSet
from schemas.sample import PublishedSample
from schemas.time import seconds
from stages.algorithms import rewards
from stages.algorithms.draws import stable_hash
from stages.algorithms.prompt import header
from stages.plan_images import is_image

TASK = "utr_local"
OWN = Path(__file__).parent
DOCS, FRAMES, YAML = "docs.parquet", "frames.parquet", "utr_local.yaml"
SPLITS = ("validation", "all")
DOC = pa.schema(
    [
        ("sample_id", pa.string()), ("video_id", pa.string()), ("family", pa.string()), ("header", pa.string()),
        ("question", pa.string()), ("answer", pa.string()), ("reward", pa.string()), ("times", pa.list_(pa.string())),
        ("frames_row", pa.int64()),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LocalTask:
    samples: int
    videos: int
    left_out: dict[str, int]  # why -> samples


def write_task(out: Place, to: Path, *, split: str, limit: int | None, prompt: str) -> LocalTask:
    """Writes the task's folder. With `limit`, so many samples drawn by their ids. Raises NotADataSet, PublishError."""
    chosen, left_out = _chosen(out, split)
    chosen.sort(key=lambda s: stable_hash(f"evaluate/{s.sample_id}"))
    chosen = sorted(chosen[:limit], key=lambda s: (s.video_id, s.clip_id, s.sample_id))
    with writing(to):
        to.mkdir(parents=True, exist_ok=True)
        rows = _write_frames(out, to / FRAMES, {s.clip_id for s in chosen})
        docs = [_doc(sample, rows[sample.clip_id], prompt) for sample in chosen]
        pq.write_table(pa.Table.from_pylist(docs, schema=DOC), to / DOCS)
        task = (OWN / "data" / YAML).read_text(encoding="utf-8").replace("DOCS", json.dumps(str(to.resolve() / DOCS)))
        write(to / YAML, task.encode())
        write(to / "utils.py", (OWN / "task_utils.py").read_bytes())  # as the YAML calls it
        write(to / "rewards.py", Path(rewards.__file__).read_bytes())
    return LocalTask(len(docs), len({s.video_id for s in chosen}), dict(left_out))


def _chosen(out: Place, split: str) -> tuple[list[PublishedSample], Counter[str]]:
    found: list[PublishedSample] = []
    left_out: Counter[str] = Counter()
    for sample in _samples(out):
        if split != "all" and sample.split != split:
            continue
        if not sample.frame_tick:
            left_out["about no medium"] += 1
        elif is_image(sample.uri):  # trained on as tiles of a picture; here all is read as films
            left_out["about an image"] += 1
        elif sample.twin is not None:
            left_out["about a twin"] += 1
        elif [m.role for m in sample.messages] != ["user", "assistant"]:
            left_out["more than one question"] += 1
        else:
            found.append(sample)
    if not found:
        what = "sample" if split == "all" else f"sample of its {split} split (a twentieth of all videos)"
        raise NotADataSet(
            f"{out}: no {what} has one question about a film; build a larger set, or give --split all if nothing was "
            "trained on it"
        )
    return found, left_out


def _samples(out: Place) -> Iterator[PublishedSample]:
    for path in _shards(out, "data"):
        with path.open("rb") as file:
            yield from PublishedSample.from_arrow(pq.read_table(file))


def _shards(out: Place, table: str) -> list[Place]:
    try:
        manifest = read_manifest(out)
    except (FileNotFoundError, ValueError) as error:
        raise NotADataSet(str(error)) from error
    return [out / shard.path for shard in manifest.shards if shard.table == table]


def _write_frames(out: Place, to: Path, wanted: set[str]) -> dict[str, int]:
    """The wanted clips' frames, a row group a clip; clip_id -> its row."""
    schema = pa.schema([("clip_id", pa.string()), ("frames_jpeg", pa.list_(pa.binary()))])
    rows: dict[str, int] = {}
    with pq.ParquetWriter(to, schema, compression="none") as sink:
        for path in _shards(out, "clips"):
            with path.open("rb") as file, pq.ParquetFile(file) as clips:
                if "frames_jpeg" not in clips.schema_arrow.names:
                    raise NotADataSet(f"{path}: no frames in it; build the set again with --pack-frames")
                for group in range(clips.num_row_groups):
                    for clip in clips.read_row_group(group, columns=schema.names).to_pylist():
                        if clip["clip_id"] in wanted and clip["clip_id"] not in rows:
                            rows[clip["clip_id"]] = len(rows)
                            sink.write_table(pa.Table.from_pylist([clip], schema=schema))
    if missing := sorted(wanted - rows.keys()):
        raise NotADataSet(
            f"{out}: clip {missing[0]} and {len(missing) - 1} more are in data/ and not in clips/; run utr verify {out}"
        )
    return rows


def _doc(sample: PublishedSample, frames_row: int, prompt: str) -> dict[str, object]:
    question, answer = (m.content for m in sample.messages)
    base = sample.time_base_num, sample.time_base_den
    times = [f"{seconds(t - sample.start_tick, *base):.2f} s" for t in sample.frame_tick]
    return {
        "sample_id": sample.sample_id,
        "video_id": sample.video_id,
        "family": sample.family,
        "header": header(range(1, len(times) + 1), times) if prompt == "frames" else "",
        "question": question.removeprefix("<video>\n").strip(),
        "answer": answer,
        "reward": sample.reward,
        "times": times,
        "frames_row": frames_row,
    }
