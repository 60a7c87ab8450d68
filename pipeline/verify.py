"""Recomputes every answer of a built data set from its shards alone: no model, no video, no torch, no ray.

A sample is proved when its program, run again over the tracks of its clip, gives its question, answer, reward and
evidence to the letter. Hashes only say that a file is the one that was written; the proof says that it follows.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.publish import read_manifest
from pipeline.shards import problems
from schemas.sample import PublishedClip, PublishedSample, PublishedScore
from stages.algorithms.compose import messages, to_json
from stages.algorithms.describe import place
from stages.algorithms.questions import Unanswerable, render
from stages.algorithms.scene import Scene, global_caption, timeline, visible

SCORE_TOLERANCE = 1e-4  # nats: token log-probabilities are stored in float32


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not follow, and where."""

    key: str
    what: str


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


def verify(out: Path) -> Verdict:
    """Checks files, tracks, samples and scores of a built folder; raises NotADataSet where there is none."""
    if not (out / "manifest.json").is_file():
        raise NotADataSet(f"{out}: no manifest.json; build it, or finish the build, with utr build --out {out}")
    clips = {clip.clip_id: clip for clip in PublishedClip.from_arrow(_table(out, "clips"))}
    samples = PublishedSample.from_arrow(_table(out, "data"))
    scores = PublishedScore.from_arrow(_table(out, "scores"))
    wrong_clips = [p for clip in clips.values() for p in _clip_problems(clip)]
    wrong_samples = [p for sample in samples for p in _sample_problems(sample, clips)]
    programs = [s for s in samples if s.family != "given"]
    bad = {p.key for p in wrong_samples}
    return Verdict(
        samples=len(samples),
        proved=sum(s.sample_id not in bad for s in programs),
        given=len(samples) - len(programs),
        scores=len(scores),
        problems=(
            *(Problem("files", what) for what in problems(out, read_manifest(out))),
            *_set_problems(samples),
            *wrong_clips,
            *wrong_samples,
            *_score_problems(samples, scores),
        ),
    )


def _table(out: Path, table: str) -> pa.Table:
    files = sorted((out / table).glob("*.parquet"))
    if not files:
        raise NotADataSet(f"{out / table}: no Parquet files")
    return pa.concat_tables(pq.read_table(f) for f in files)


def _set_problems(samples: Sequence[PublishedSample]) -> Iterator[Problem]:
    """Ids that occur twice, and samples of one clip that disagree about the clip."""
    facts: dict[str, tuple[object, ...]] = {}
    seen: set[str] = set()
    for s in samples:
        if s.sample_id in seen:
            yield Problem(s.sample_id, "occurs twice")
        seen.add(s.sample_id)
        fact = (s.video_id, s.uri, s.start_tick, s.end_tick, s.time_base_num, s.time_base_den, s.frame_tick, s.split)
        if facts.setdefault(s.clip_id, fact) != fact:
            yield Problem(s.sample_id, "disagrees with another sample of its clip about span, frames or split")


def _clip_problems(clip: PublishedClip) -> Iterator[Problem]:
    for track in clip.tracks:
        for m in track.moments:
            x1, y1, x2, y2 = m.box_xyxy_px
            if not (0 <= x1 < x2 <= track.frame_width_px and 0 <= y1 < y2 <= track.frame_height_px):
                yield Problem(
                    clip.clip_id, f"track {track.track_id} at tick {m.tick}: box {m.box_xyxy_px} is not in the frame"
                )
            elif place(m.box_xyxy_px, track.frame_width_px, track.frame_height_px) != m.location:
                yield Problem(clip.clip_id, f"track {track.track_id} at tick {m.tick}: box is not at {m.location!r}")


def _sample_problems(sample: PublishedSample, clips: dict[str, PublishedClip]) -> Iterator[Problem]:
    """Everything about one sample that does not follow from its program."""
    key = sample.sample_id
    if sample.clip_id not in clips:
        yield Problem(key, f"its clip {sample.clip_id} is not in clips/")
        return
    ticks = sample.frame_tick
    if (
        list(ticks) != sorted(set(ticks))
        or not ticks
        or not sample.start_tick <= ticks[0] <= ticks[-1] < sample.end_tick
    ):
        yield Problem(key, "its frames do not ascend inside the clip")
        return
    clip = clips[sample.clip_id]
    scene = _scene(sample, clip)
    for caption in clip.captions:
        if caption.kind in ("global", "timeline"):
            text = global_caption(scene) if caption.kind == "global" else timeline(scene)
            if caption.text != text[0].upper() + text[1:] and caption.text != text:
                yield Problem(key, f"the {caption.kind} caption of its clip does not follow from the tracks")
    if sample.family == "given":
        return
    program = json.loads(sample.program)
    try:
        again = render(scene, program)
    except (Unanswerable, KeyError, TypeError, ValueError) as error:
        yield Problem(key, f"its program has no answer on its clip: {error}")
        return
    said = {
        "family": (sample.family, program["op"]),
        "direction": (sample.direction, again.direction),
        "answer type": (sample.answer_type, again.answer_type),
        "messages": (sample.messages, messages(again)),
        "reward": (sample.reward, to_json(again.reward)),
        "evidence": (sample.evidence, to_json({"tracks": list(again.track_ids), "frames": list(again.frames)})),
        "risk": (round(sample.risk, 9), round(again.risk, 9)),
    }
    for what, (published, recomputed) in said.items():
        if published != recomputed:
            yield Problem(key, f"{what}: published {_short(published)}, recomputed {_short(recomputed)}")


def _scene(sample: PublishedSample, clip: PublishedClip) -> Scene:
    return Scene(
        frame_tick=sample.frame_tick,
        start_tick=sample.start_tick,
        time_base_num=sample.time_base_num,
        time_base_den=sample.time_base_den,
        tracks=visible(clip.tracks, sample.frame_tick),
        events=clip.events,
    )


def _score_problems(samples: Sequence[PublishedSample], scores: Sequence[PublishedScore]) -> Iterator[Problem]:
    """Samples whose tpl and tpl_key are not those of their token log-probabilities."""
    nll: dict[str, dict[tuple[str, int | None], float]] = {}
    for s in scores:
        nll.setdefault(s.sample_id, {})[s.context, s.frame] = -float(np.sum(s.token_logprob, dtype=np.float64))
    for sample in samples:
        read = nll.get(sample.sample_id)
        if (sample.tpl is None) != (read is None):
            yield Problem(sample.sample_id, "has a score without token log-probabilities, or the reverse")
        if sample.tpl is None or sample.tpl_key is None or read is None:
            continue
        curve = [value - read["video", None] for (kind, _), value in read.items() if kind == "frame"]
        if len(curve) != len(sample.frame_tick):
            yield Problem(sample.sample_id, f"{len(curve)} single-frame scores for {len(sample.frame_tick)} frames")
        elif abs(np.mean(curve) - sample.tpl) > SCORE_TOLERANCE or abs(min(curve) - sample.tpl_key) > SCORE_TOLERANCE:
            yield Problem(sample.sample_id, f"tpl {sample.tpl:.4f} does not follow from its token log-probabilities")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 160 else f"{text[:157]}..."
