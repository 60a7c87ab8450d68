"""Finished videos of the generated world, scored by a fake with known shape: realistic rows without a model."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pipeline.funnel import Funnel, StageCount
from pipeline.publish import FinishedVideo, RunFacts
from pipeline.tally import Tally
from schemas.clip import CaptionedClip, Quality, TrackedClip
from schemas.outcome import Outcome
from schemas.sample import ComposedClip, MeasuredClip, ScoredClip, ScorerCard, SelectedClip, TargetScore
from schemas.time import spread
from schemas.video import QA
from stages.algorithms.draws import draws
from stages.algorithms.tpl import TEXT, VIDEO, Context, Thresholds, contexts, target_score
from stages.algorithms.world import World, random_world
from stages.caption_clip import CaptionClip
from stages.compose_samples import ComposeSamples
from stages.describe_tracks import DescribeTracks
from stages.select_samples import SelectSamples

DEN = 90_000
SIDE_PX, STORE_PX = 256, 128
N_FRAMES = 8
THRESHOLDS = Thresholds.from_card({"text_gain": 0.5, "tpl_key": 0.4})
MAX_SCORED = 6
QUALITY = Quality(
    motion=0.02, sharpness=30.0, luminance=0.2, luminance_spread=0.1, black_share=0.0, frozen_share=0.0,
    text_share=0.0, picture_share=1.0,
)  # fmt: skip


def world_of(video_id: str, shot: int) -> World:
    """A world whose subjects stay in view, so that it always has questions."""
    for k in range(100):
        world = random_world(draws(k, f"{video_id}/{shot}"), still_share=0.0)
        if len(world.shapes) == 2 and len(world.tracks(_times(world), SIDE_PX)) == 2:
            return world
    raise AssertionError("no such world")


def video_id_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def make_clip(video_id: str, shot: int = 0, *, domain: str = "in", given: bool = False) -> SelectedClip:
    """One clip, described, captioned, composed and selected by the real stages."""
    world = world_of(video_id, shot)
    tracked = _tracked(video_id, shot, world, given)
    (described,) = DescribeTracks().process(None, [tracked])
    (captioned,) = CaptionClip().process(None, [described])
    assert isinstance(captioned, CaptionedClip)
    card = ScorerCard(
        scorer="fake@1", dtype="float32", engine="fake/1", prompt_hash="00", n_frames=N_FRAMES,
        scorer_domain=domain, skill=json.dumps({"colour": 0.99, "direction": 0.9}),
        thresholds=json.dumps({"text_gain": 0.1, "tpl_key": 0.2}),
    )  # fmt: skip
    texts = [(f"{tracked.clip_id}/caption/{c.kind}", c.text) for c in captioned.captions]
    scored = captioned.extend(ScoredClip, caption_scores=_scores(tracked, texts), scorer=card)
    (composed,) = ComposeSamples(max_risk=0.9).process(None, [scored])
    assert isinstance(composed, ComposedClip)
    answers = [(s.sample_id, s.messages[1].content) for s in composed.samples][:MAX_SCORED]
    measured = composed.extend(MeasuredClip, sample_scores=_scores(tracked, answers))
    (selected,) = SelectSamples(drop_one_frame=True).process(None, [measured])
    return selected


def make_video(name: str, *, shots: int = 1, domain: str = "in", given: bool = False) -> FinishedVideo:
    video_id = video_id_of(name)
    clips = [make_clip(video_id, shot, domain=domain, given=given) for shot in range(shots)]
    skip = Outcome(
        key=f"{video_id[:16]}-s099-p00", uri=f"{video_id[:8]}.mp4", stage="SplitShots", kind="skip",
        reason="too_short", detail="0.4 s < 1 s",
    )  # fmt: skip
    return FinishedVideo(video_id, clips, [skip])


def bad_video(name: str) -> FinishedVideo:
    """A file that could not be read."""
    failure = Outcome(
        key=f"{name}.mp4", uri=f"{name}.mp4", stage="ProbeVideo", kind="failure", reason="ReadError",
        detail=f"{name}.mp4: no video stream <b>",
    )  # fmt: skip
    return FinishedVideo(video_id_of(name), [], [failure])


def corpus(n: int = 5) -> list[FinishedVideo]:
    """`n` readable videos and a broken one, sorted."""
    videos = [
        make_video(f"v{k}", shots=1 + k % 2, domain="out" if k % 3 == 2 else "in", given=k == 0) for k in range(n)
    ]
    return sorted([*videos, bad_video("broken")], key=lambda v: v.video_id)


def counted(tally: Tally, videos: Iterable[FinishedVideo]) -> Iterator[FinishedVideo]:
    """The same videos, counted as they pass."""
    for video in videos:
        tally.add(video)
        yield video


def facts(wall_s: float = 12.5) -> RunFacts:
    count = StageCount(rows_in=6, rows_out=7, seconds=wall_s / 3, skipped={"too_short": 5}, failed={"ReadError": 1})
    return RunFacts(
        engine="0.1.0", plan_fingerprint="abc123", plan=("SplitShots.threshold = 27.0", "DecodeClip.n_frames = 8"),
        packages={"pyarrow": "1", "av": "2"}, videos_root="films",
        funnel=Funnel({
            "ProbeVideo": count, "SplitShots": StageCount(rows_in=5, rows_out=7, counted={"prompt_tokens": 1200})
        }),
        started="2026-01-01T00:00:00+00:00", wall_s=wall_s, runner="local", workers=1,
    )  # fmt: skip


def load_frames(clip: SelectedClip) -> np.ndarray:
    """The planned frames at store size."""
    world = world_of(clip.video_id, clip.shot_index)
    return np.stack([world.render(tick / DEN, STORE_PX) for tick in clip.plan_tick])


def _times(world: World) -> list[float]:
    return [k / 10 for k in range(int(world.duration_s * 10))]


def _tracked(video_id: str, shot: int, world: World, given: bool) -> TrackedClip:
    ticks = tuple(round(t * DEN) for t in _times(world))
    tracks = world.tracks(_times(world), SIDE_PX)
    return TrackedClip(
        video_id=video_id, uri=f"{video_id[:8]}.mp4", location=f"/films/{video_id[:8]}.mp4",
        clip_id=f"{video_id[:16]}-s{shot:03d}-p00", shot_index=shot, start_tick=0, end_tick=ticks[-1] + 9000,
        time_base_num=1, time_base_den=DEN, width_px=SIDE_PX, height_px=SIDE_PX, rotation_deg=0,
        is_whole_video=given, camera="static", camera_speed=0.0, luminance=0.2, blur=30.0, motion=0.01,
        frame_hash="0f", caption_given=None, qa_given=(QA(question="What is it?", answer="Shapes."),) if given else (),
        track_tick=ticks, plan_index=spread(len(ticks), N_FRAMES), store_width_px=STORE_PX, store_height_px=STORE_PX,
        detections=tuple(o for t in tracks for o in t.observations),
        camera_path=((1.0, 0.0, 0.0, 0.0, 1.0, 0.0),) * len(ticks),
        detector="world", tracks=tracks, rejected=0, tracker="world", quality=QUALITY,
    )  # fmt: skip


def _scores(clip: TrackedClip, targets: Sequence[tuple[str, str]]) -> tuple[TargetScore, ...]:
    return tuple(_score(clip, target_id, text) for target_id, text in targets)


def _score(clip: TrackedClip, target_id: str, text: str) -> TargetScore:
    """Tokens are words; one frame knows less than the film, no frame knows least."""
    rng = draws(0, target_id)
    token_id = tuple(int(i) for i in rng.integers(0, 500, len(text.split())))
    shift = {VIDEO: 0.05, TEXT: 1.2}
    phase, base = rng.uniform(0, 6), rng.uniform(0.15, 0.4)
    read: dict[Context, np.ndarray] = {}
    for c in contexts(len(clip.plan_index), shuffles=0, key=clip.clip_id):
        away = shift[c.kind] if c.kind in shift else base + 0.12 * float(np.sin(phase + (c.frame or 0)))
        read[c] = -np.abs(away + rng.normal(0, 0.02, len(token_id)))
    return target_score(target_id, token_id, read, THRESHOLDS)
