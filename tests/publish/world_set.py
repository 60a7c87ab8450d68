"""A sealed data set of generated worlds with all families and twins: perfect tracks, nothing rendered or decoded.

Its scores are drawn, and follow from drawn token log-probabilities as real ones do. One film in three has a row in
failures/ beside its dropped samples, every other one a second shot, one a question of its user.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds

from pipeline.funnel import Funnel, StageCount
from pipeline.publish import TABLES, FinishedVideo, publish, read_manifest
from pipeline.sealed import Sealed
from schemas.clip import CaptionedClip, Track, TrackedClip
from schemas.outcome import Outcome
from schemas.sample import (
    ComposedClip,
    MeasuredClip,
    PublishedClip,
    PublishedSample,
    PublishedScore,
    ScoredClip,
    ScorerCard,
    SelectedClip,
    TargetScore,
)
from schemas.time import spread
from schemas.video import QA
from stages.algorithms.draws import draws
from stages.algorithms.scene import name
from stages.algorithms.tpl import TEXT, VIDEO, Thresholds, contexts, target_score
from stages.algorithms.world import Leg, Shape, World, random_world
from stages.caption_clip import CaptionClip, scene_of
from stages.compose_samples import ComposeSamples
from stages.describe_tracks import DescribeTracks
from stages.select_samples import SelectSamples
from tests.publish.builders import QUALITY, facts

DEN, GRID_FPS = 90_000, 10
WIDTH_PX, HEIGHT_PX = 256, 240  # not square, so that axes cannot be mixed up; shapes keep their names up to 1.15
N_FRAMES = 8
N_VIDEOS = 10  # the fewest round number that has every family and twin
CARD = ScorerCard(
    scorer="fake@1", dtype="float32", engine="fake/1", prompt_hash="00", n_frames=N_FRAMES, scorer_domain="in",
    skill='{"colour":0.99}', thresholds='{"text_gain":0.1,"tpl_key":0.2}',
)  # fmt: skip
THRESHOLDS = Thresholds.from_card({"text_gain": 0.1, "tpl_key": 0.2})
MAX_SCORED = 6  # samples of a clip
GIVEN_BY_USER = QA(question="How many shapes are there?", answer="Three or less.")


def world_videos(n_videos: int = N_VIDEOS) -> list[FinishedVideo]:
    """Films with known truth, sorted as they are sealed."""
    videos = [_video(k) for k in range(n_videos)]
    return sorted(videos, key=lambda video: video.video_id)


def seal_worlds(out: Path, n_videos: int = N_VIDEOS) -> Sealed:
    """Writes the set under `out` and reads it back."""
    return seal(out, world_videos(n_videos))


def seal(out: Path, videos: list[FinishedVideo]) -> Sealed:
    lines: dict[str, StageCount] = {}
    for outcome in (o for video in videos for o in video.outcomes):
        lines[outcome.stage] = lines.get(outcome.stage, StageCount()) + StageCount(skipped={outcome.reason: 1})
    plan = (f"DecodeClip.track_fps = {GRID_FPS:.1f}", f"DescribeTracks.version = {DescribeTracks.version}")
    publish(out, videos, replace(facts(), funnel=Funnel(lines), plan=plan))
    return read_sealed(out)


def read_sealed(out: Path) -> Sealed:
    tables = {table: ds.dataset(out / table, format="parquet").to_table() for table in TABLES}
    return Sealed(
        read_manifest(out),
        clips=PublishedClip.from_arrow(tables["clips"]),
        samples=PublishedSample.from_arrow(tables["data"]),
        scores=PublishedScore.from_arrow(tables["scores"]),
        outcomes=Outcome.from_arrow(tables["failures"]),
    )


def _video(k: int) -> FinishedVideo:
    video_id = hashlib.sha256(f"world {k}".encode()).hexdigest()
    clips: list[SelectedClip] = []
    for world in [_chosen(k), _random(k, 1)][: 1 + k % 2]:
        start = clips[-1].end_tick if clips else 0
        ticks = even_ticks(world, start)
        clips.append(finished(tracked(video_id, len(clips), world, ticks, is_given=k == 0)))
    short = Outcome(
        key=f"{video_id[:16]}-s099-p00", uri=_uri(video_id), stage="SplitShots", kind="skip", reason="too_short",
        detail="0.4 s < 1 s",
    )  # fmt: skip
    return FinishedVideo(video_id, clips, [short] if k % 3 == 0 else [])


def _chosen(k: int) -> World:
    """The first films have what random worlds of 4 s hardly ever have: who comes back, waits, passes, three events."""
    chosen = (_comes_back, _waits, _three_events, _passes)
    return chosen[k]() if k < len(chosen) else _random(k, 0)


def _random(k: int, shot: int) -> World:
    """Two or three shapes that can all be named."""
    rng = draws(k, f"world/{shot}")
    while True:
        world = random_world(rng, max_shapes=3)
        (described,) = DescribeTracks().process(None, [tracked("0" * 64, 0, world, even_ticks(world))])
        shown = [name(track) for track in scene_of(described).tracks]
        if len(shown) > 1 and sorted(shown) == sorted(shape.name for shape in world.shapes):
            return world


def _comes_back() -> World:
    legs = (Leg("left", 1.5, 0.75), Leg("right", 1.5, 0.75))  # fast, so that few of its boxes are cut by the edge
    stays = (Leg("down", 1.6, 0.4), Leg("still", 1.5, 0.0))
    return World((_shape(legs, (0.6, 0.5), "red"), _shape(stays, (0.8, 0.2), "blue")), 3.0)


def _waits() -> World:
    waits = (Leg("still", 1.5, 0.0), Leg("right", 1.6, 0.4))
    leaves = (Leg("up", 2.0, 0.6), Leg("still", 1.1, 0.0))
    return World((_shape(waits, (0.2, 0.7), "green"), _shape(leaves, (0.7, 0.4), "yellow")), 3.0)


def _passes() -> World:
    """Along both axes, and much faster."""
    fast, slow = (Leg("down right", 3.0, 0.75),), (Leg("up left", 3.0, 0.2),)
    return World((_shape(fast, (0.2, 0.2), "red"), _shape(slow, (0.55, 0.45), "blue")), 3.0)


def _three_events() -> World:
    """One after the other, and nobody passes anybody."""
    shapes = (
        _shape((Leg("right", 1.0, 0.4), Leg("still", 3.1, 0.0)), (0.1, 0.2), "red"),
        _shape((Leg("down", 1.9, 0.3), Leg("left", 2.2, 0.2)), (0.9, 0.15), "blue"),
        _shape((Leg("left", 3.35, 0.3), Leg("up", 0.75, 0.2)), (0.75, 0.85), "white"),
    )
    return World(shapes, 4.0)


def _shape(legs: tuple[Leg, ...], start: tuple[float, float], colour: str) -> Shape:
    return Shape("circle", colour, "small", 0.08, start, legs, 0.0, 99.0)


def _uri(video_id: str) -> str:
    return f"{video_id[:8]}.mp4"


def tracked(video_id: str, shot: int, world: World, ticks: tuple[int, ...], *, is_given: bool = False) -> TrackedClip:
    """What a perfect detector and tracker report of a world at ticks of the tracking grid."""
    tracks = _wide(world, [(tick - ticks[0]) / DEN for tick in ticks])
    return TrackedClip(
        video_id=video_id, uri=_uri(video_id), location=f"/films/{_uri(video_id)}",
        clip_id=f"{video_id[:16]}-s{shot:03d}-p00", shot_index=shot, start_tick=ticks[0],
        end_tick=ticks[-1] + DEN // GRID_FPS, time_base_num=1, time_base_den=DEN, width_px=WIDTH_PX,
        height_px=HEIGHT_PX, rotation_deg=0, is_whole_video=is_given, camera="static", camera_speed=0.0,
        luminance=0.2, blur=30.0, motion=0.01, frame_hash="0f", caption_given="Shapes on a grid." if is_given else None,
        qa_given=(GIVEN_BY_USER,) if is_given else (), track_tick=ticks, plan_index=spread(len(ticks), N_FRAMES),
        store_width_px=WIDTH_PX, store_height_px=HEIGHT_PX,
        detections=tuple(o for t in tracks for o in t.observations),
        camera_path=((1.0, 0.0, 0.0, 0.0, 1.0, 0.0),) * len(ticks), detector="world", tracks=tracks, rejected=0,
        tracker="world", quality=QUALITY,
    )  # fmt: skip


def even_ticks(world: World, start_tick: int = 0) -> tuple[int, ...]:
    """A regular grid."""
    return tuple(start_tick + DEN * k // GRID_FPS for k in range(int(world.duration_s * GRID_FPS)))


def _wide(world: World, times_s: list[float]) -> tuple[Track, ...]:
    """The tracks in a frame that is not square."""
    return tuple(
        replace(
            track,
            observations=tuple(
                replace(
                    o, box_xyxy_px=tuple(v * s for v, s in zip(o.box_xyxy_px, (WIDTH_PX, HEIGHT_PX) * 2, strict=True))
                )
                for o in track.observations
            ),
        )
        for track in world.tracks(times_s, 1)
    )


def finished(clip: TrackedClip) -> SelectedClip:
    """Described, captioned, composed in all families and selected by the real stages."""
    (captioned,) = CaptionClip().process(None, DescribeTracks().process(None, [clip]))
    assert isinstance(captioned, CaptionedClip)
    texts = [(f"{captioned.clip_id}/caption/{c.kind}", c.text) for c in captioned.captions]
    scored = captioned.extend(ScoredClip, caption_scores=_scores(texts), scorer=CARD)
    (composed,) = ComposeSamples(wordings=3).process(None, [scored])
    assert isinstance(composed, ComposedClip)
    rng = draws(0, f"{captioned.clip_id}/scored")
    chosen = rng.permutation(len(composed.samples))[:MAX_SCORED]
    answers = [(composed.samples[i].sample_id, composed.samples[i].messages[-1].content) for i in sorted(chosen)]
    measured = composed.extend(MeasuredClip, sample_scores=_scores(answers))
    (selected,) = SelectSamples(drop_one_frame=True).process(None, [measured])
    return selected


def _scores(targets: Sequence[tuple[str, str]]) -> tuple[TargetScore, ...]:
    return tuple(_score(*target) for target in targets)


def _score(target_id: str, text: str) -> TargetScore:
    """Tokens are words; one frame knows less than the film, no frame knows least."""
    rng = draws(0, target_id)
    token_id = tuple(int(i) for i in rng.integers(0, 500, len(text.split())))
    away = {VIDEO: 0.05, TEXT: 1.2}
    read = {
        context: -np.abs(away.get(context.kind, 0.3) + rng.normal(0, 0.1, len(token_id)))
        for context in contexts(N_FRAMES, shuffles=0, key=target_id)
    }
    return target_score(target_id, token_id, read, THRESHOLDS)
