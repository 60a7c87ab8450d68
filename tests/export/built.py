"""A small built set beside its real films, through the real stages; nothing is scored."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from pipeline.publish import FinishedVideo, publish
from schemas.clip import CaptionedClip, TrackedClip
from schemas.sample import ComposedClip, MeasuredClip, ScoredClip, ScorerCard, SelectedClip
from schemas.time import grid, spread
from schemas.video import QA
from stages.algorithms.world import World
from stages.caption_clip import CaptionClip
from stages.compose_samples import ComposeSamples
from stages.describe_tracks import DescribeTracks
from stages.media.facts import StreamFacts
from stages.media.reader import Reader
from stages.media.world_film import WorldShot, random_film, write_world_film
from tests.publish.builders import QUALITY, facts

SIDE_PX, TRACK_FPS = 128, 10.0
PLAN = (f"DecodeClip.track_fps = {TRACK_FPS}", "ComposeSamples.max_risk = 0.75")
CARD = ScorerCard(
    scorer="none", dtype="float32", engine="none", prompt_hash="00", n_frames=None, scorer_domain="unknown",
    skill="{}", thresholds="{}",
)  # fmt: skip


def build(out: Path, films: Path, seeds: Sequence[tuple[int, int]], *, fps: Fraction) -> dict[str, World]:
    """Films of (seed, shots), a set of their clips in `out`; the worlds by clip_id."""
    worlds: dict[str, World] = {}
    videos = []
    films.mkdir(parents=True, exist_ok=True)
    with Reader() as reader:
        for seed, shots in seeds:
            path = films / f"film{seed}.mp4"
            placed = write_world_film(path, random_film(seed, shots=shots), fps=fps, side_px=SIDE_PX)
            found = reader.probe(str(path))
            assert found is not None
            ticks = reader.packets(str(path)).ticks
            clips = [_clip(found, path, ticks, k, shot) for k, shot in enumerate(placed)]
            worlds |= {clip.clip_id: shot.world for clip, shot in zip(clips, placed, strict=True)}
            videos.append(FinishedVideo(found.video_id, clips, []))
    videos.sort(key=lambda v: v.video_id)
    publish(out, videos, replace(facts(), plan=PLAN, videos_root=str(films)))
    return worlds


def _clip(found: StreamFacts, path: Path, ticks: Sequence[int], k: int, shot: WorldShot) -> SelectedClip:
    own = ticks[shot.first : shot.end]
    base = (found.time_base_num, found.time_base_den)
    track_tick = tuple(own[i] for i in grid(own, TRACK_FPS, *base))
    times = [(t - own[0]) * found.time_base_num / found.time_base_den for t in track_tick]
    is_whole = len(own) == len(ticks)
    tracks = shot.world.tracks(times, SIDE_PX)
    tracked = TrackedClip(
        video_id=found.video_id, uri=path.name, location=str(path), clip_id=f"{found.video_id[:16]}-s{k:03d}-p00",
        shot_index=k, start_tick=own[0], end_tick=ticks[shot.end] if shot.end < len(ticks) else found.end_tick,
        time_base_num=base[0], time_base_den=base[1], width_px=SIDE_PX, height_px=SIDE_PX, rotation_deg=0,
        is_whole_video=is_whole, camera="static", camera_speed=0.0, luminance=0.2, blur=30.0, motion=0.01,
        frame_hash="0f", caption_given=None,
        qa_given=(QA(question="What is it?", answer="Shapes, from 0.50 s on."),) if is_whole else (),
        track_tick=track_tick, plan_index=spread(len(track_tick), 8), store_width_px=64, store_height_px=64,
        detections=tuple(o for t in tracks for o in t.observations),
        camera_path=((1.0, 0.0, 0.0, 0.0, 1.0, 0.0),) * len(track_tick),
        detector="world", tracks=tracks, rejected=0, tracker="world", quality=QUALITY,
    )  # fmt: skip
    (described,) = DescribeTracks().process(None, [tracked])
    (captioned,) = CaptionClip().process(None, [described])
    assert isinstance(captioned, CaptionedClip)
    scored = captioned.extend(ScoredClip, caption_scores=(), scorer=CARD)
    (composed,) = ComposeSamples().process(None, [scored])
    assert isinstance(composed, ComposedClip)
    measured = composed.extend(MeasuredClip, sample_scores=())
    return measured.extend(SelectedClip, selected=tuple(s.sample_id for s in composed.samples))
