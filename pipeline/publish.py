"""Seal a data set: finished videos become the tables data, clips, scores, quality and failures, and a manifest."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from pipeline.funnel import Funnel
from pipeline.seal_tables import Rows, seal
from pipeline.shards import Limits
from pipeline.storage import Place, is_there
from schemas.manifest import (
    FORMAT,
    MANIFEST,
    FunnelLine,
    Manifest,
    Package,
    ReasonCount,
    Run,
    ScorerFacts,
    Shard,
    StageCounted,
    StageSeconds,
)
from schemas.outcome import Outcome
from schemas.row import Record
from schemas.sample import (
    PackedClip,
    PublishedClip,
    PublishedQuality,
    PublishedSample,
    PublishedScore,
    Sample,
    SelectedClip,
    TargetScore,
)
from stages.algorithms.draws import stable_hash
from stages.media.jpeg import jpeg

TABLES: dict[str, type[Record]] = {
    "data": PublishedSample, "clips": PublishedClip, "scores": PublishedScore, "quality": PublishedQuality,
    "failures": Outcome,
}  # fmt: skip
VALIDATION_SHARE = 0.05  # of the videos
PACKED_ROWS = 4  # of a row group of clips with frames: a trainer reads single clips
DATA_ROWS = 256  # of a row group of samples: a single one is read in 3 ms, of the default group (60,000) in 62
JPEG_QUALITY = 90


class FinishedVideo(NamedTuple):
    """All that came of one source."""

    video_id: str
    clips: list[SelectedClip]
    outcomes: list[Outcome]


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What the manifest says beside the rows."""

    engine: str
    plan_fingerprint: str
    plan: tuple[str, ...]
    packages: dict[str, str]  # name -> version
    videos_root: str | None
    funnel: Funnel
    started: str  # ISO 8601, UTC
    wall_s: float
    runner: str
    workers: int


def publish(
    out: Place,
    finished: Iterable[FinishedVideo],
    facts: RunFacts,
    *,
    limits: Limits | None = None,
    load_frames: Callable[[SelectedClip], np.ndarray] | None = None,
) -> Manifest:
    """Write and seal `out` from videos sorted by video_id. With `load_frames` (a clip's planned frames, uint8 RGB
    frames_THWC) clips hold them as JPEGs.

    Raises ValueError where the videos contradict themselves, PublishError where the disk does not take them.
    """
    limits = limits or Limits()
    tables, sizes, scorers = dict(TABLES), dict.fromkeys(TABLES, limits), _Scorers()
    sizes["data"] = replace(limits, row_group_rows=DATA_ROWS)
    if load_frames:
        tables["clips"], sizes["clips"] = PackedClip, replace(limits, row_group_rows=PACKED_ROWS)

    def groups() -> Iterator[tuple[str, Rows]]:
        last = ""
        for video_id, clips, outcomes in finished:
            if video_id <= last:
                raise ValueError(f"videos must come sorted, each once: {video_id!r} after {last!r}")
            last = video_id
            rows = video_rows(video_id, clips, outcomes)
            if load_frames:
                rows["clips"] = [_packed(clip, load_frames(clip)) for clip in _in_order(clips)]
            scorers.add(clips)
            yield video_id, rows

    return seal(out, tables, groups(), lambda shards: manifest_of(shards, scorers.facts(), facts), limits=sizes)


def read_manifest(out: Place) -> Manifest:
    """The manifest of a sealed data set; raises FileNotFoundError where the folder is not one."""
    path = out / MANIFEST
    if not is_there(path):
        raise FileNotFoundError(f"{out} has no {MANIFEST}: it is no data set, or its build did not end. Build again.")
    return Manifest.from_json(path.read_text(encoding="utf-8"))


def split_of(video_id: str) -> str:
    """ "validation" for a fixed share of all videos, else "train": the same video is never in both."""
    return "validation" if stable_hash(f"split/{video_id}") < VALIDATION_SHARE * 2**64 else "train"


def video_rows(video_id: str, clips: list[SelectedClip], outcomes: list[Outcome]) -> dict[str, Sequence[Record]]:
    """The rows of one video by table, each sorted by its key; raises ValueError where a sample is lost or double."""
    strangers = [c.clip_id for c in clips if c.video_id != video_id]
    if strangers:
        raise ValueError(f"{video_id}: clips of another video: {', '.join(strangers)}")
    _once(video_id, [c.clip_id for c in clips])
    _once(video_id, [s.sample_id for c in clips for s in c.samples])
    ended = [*outcomes, *(outcome for clip in clips for outcome in _dropped(clip))]
    scores = [row for clip in clips for score in (*clip.caption_scores, *clip.sample_scores) for row in _scores(score)]
    samples = [row for clip in clips for row in _samples(clip)]
    samples.sort(key=lambda s: s.sample_id)
    scores.sort(key=_place)
    ended.sort(key=lambda o: (o.key, o.stage, o.kind, o.reason, o.detail))
    return {
        "data": samples,
        "clips": [_clip(clip) for clip in _in_order(clips)],
        "scores": scores,
        "quality": [
            clip.quality.extend(PublishedQuality, clip_id=clip.clip_id) for clip in _in_order(clips) if clip.quality
        ],
        "failures": ended,
    }


def _in_order(clips: list[SelectedClip]) -> list[SelectedClip]:
    return sorted(clips, key=lambda c: c.clip_id)


def _packed(clip: SelectedClip, frames_THWC: np.ndarray) -> PackedClip:
    return _clip(clip).extend(PackedClip, frames_jpeg=tuple(jpeg(f, quality=JPEG_QUALITY) for f in frames_THWC))


def _place(score: PublishedScore) -> tuple[str, str, int]:
    return score.sample_id, score.context, -1 if score.frame is None else score.frame


@dataclass(slots=True)
class _Scorers:
    """Which scorers the clips name, and how many clips lie in the domain of each."""

    seen: Counter[tuple[tuple[str, str, str, str, int | None, str, str], str]] = field(default_factory=Counter)

    def add(self, clips: list[SelectedClip]) -> None:
        for c in (clip.scorer for clip in clips):
            key = (c.scorer, c.dtype, c.engine, c.prompt_hash, c.n_frames, c.skill, c.thresholds)
            self.seen[key, c.scorer_domain] += 1

    def facts(self) -> tuple[ScorerFacts, ...]:
        return tuple(
            ScorerFacts(
                scorer=key[0], dtype=key[1], engine=key[2], prompt_hash=key[3], n_frames=key[4], skill=key[5],
                thresholds=key[6],
                clips_in=self.seen[key, "in"], clips_out=self.seen[key, "out"],
            )
            for key in sorted({key for key, _ in self.seen}, key=repr)  # a null has no order
        )  # fmt: skip


def _samples(clip: SelectedClip) -> list[PublishedSample]:
    """The selected samples of a clip; each other one must have a Drop."""
    chosen, dropped = set(clip.selected), {d.key for d in clip.drops}
    known = {s.sample_id for s in clip.samples}
    if chosen - known:
        raise ValueError(f"{clip.clip_id}: selected, but not there: {', '.join(sorted(chosen - known))}")
    wrong = sorted(s for s in known if (s in chosen) == (s in dropped))
    if wrong:
        raise ValueError(f"{clip.clip_id}: neither selected nor dropped, or both: {', '.join(wrong)}")
    scores = {score.target_id: score for score in clip.sample_scores}
    return [_sample(clip, s, scores.get(s.sample_id)) for s in clip.samples if s.sample_id in chosen]


def _sample(clip: SelectedClip, sample: Sample, score: TargetScore | None) -> PublishedSample:
    return PublishedSample(
        sample_id=sample.sample_id,
        video_id=clip.video_id,
        clip_id=clip.clip_id,
        group_id=sample.group_id,
        uri=clip.uri,
        start_tick=clip.start_tick,
        end_tick=clip.end_tick,
        time_base_num=clip.time_base_num,
        time_base_den=clip.time_base_den,
        frame_tick=clip.plan_tick,
        family=sample.family,
        direction=sample.direction,
        answer_type=sample.answer_type,
        messages=sample.messages,
        program=sample.program,
        evidence=sample.evidence,
        reward=sample.reward,
        tpl=score.tpl if score else None,
        tpl_key=score.tpl_key if score else None,
        hackability=score.hackability if score else None,
        verdict=score.verdict if score else None,
        risk=sample.risk,
        scorer=clip.scorer.scorer,
        scorer_domain=clip.scorer.scorer_domain,
        describer="manifest" if sample.family == "given" else clip.describer,
        split=split_of(clip.video_id),
        difficulty=sample.difficulty,
        twin=sample.twin,
        twin_effect=sample.twin_effect,
        frame_order=sample.frame_order,
        mirrored=sample.mirrored,
        reworded_by=sample.reworded_by,
    )


def _clip(clip: SelectedClip) -> PublishedClip:
    return PublishedClip(
        clip_id=clip.clip_id,
        tracks=clip.trajectories,
        events=clip.events,
        relations=clip.relations,
        captions=clip.captions,
        caption_scores=clip.caption_scores,
    )


def _scores(score: TargetScore) -> list[PublishedScore]:
    return [
        PublishedScore(
            sample_id=score.target_id,
            context=c.context,
            frame=c.frame,
            token_id=score.token_id,
            token_logprob=c.token_logprob,
        )
        for c in score.contexts
    ]


def _dropped(clip: SelectedClip) -> list[Outcome]:
    return [
        Outcome(key=d.key, uri=clip.uri, stage=d.stage, kind="skip", reason=d.reason, detail=d.detail)
        for d in clip.drops
    ]


def _once(video_id: str, keys: list[str]) -> None:
    double = sorted(key for key, n in Counter(keys).items() if n > 1)
    if double:
        raise ValueError(f"{video_id}: more than once: {', '.join(double)}")


def manifest_of(shards: tuple[Shard, ...], scorers: tuple[ScorerFacts, ...], facts: RunFacts) -> Manifest:
    """The manifest of sealed shards and of the run that made them; the funnel is the one in `facts`."""
    counts = facts.funnel.stages
    return Manifest(
        format=FORMAT,
        engine=facts.engine,
        plan_fingerprint=facts.plan_fingerprint,
        plan=facts.plan,
        packages=tuple(Package(name=name, release=release) for name, release in sorted(facts.packages.items())),
        videos_root=facts.videos_root,
        scorers=scorers,
        funnel=tuple(
            FunnelLine(
                stage=stage,
                rows_in=count.rows_in,
                rows_out=count.rows_out,
                skipped=_reasons(count.skipped),
                failed=_reasons(count.failed),
            )
            for stage, count in counts.items()
        ),
        shards=shards,
        run=Run(
            started=facts.started,
            wall_s=facts.wall_s,
            runner=facts.runner,
            workers=facts.workers,
            stages=tuple(StageSeconds(stage=stage, seconds=round(c.seconds, 3)) for stage, c in counts.items()),
            counted=tuple(
                StageCounted(stage=stage, what=what, n=n)
                for stage, count in counts.items()
                for what, n in count.counted.items()
            ),
        ),
    )


def _reasons(counts: dict[str, int]) -> tuple[ReasonCount, ...]:
    return tuple(ReasonCount(reason=str(reason), rows=rows) for reason, rows in sorted(counts.items()))
