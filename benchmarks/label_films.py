"""Generated films through the build's own chain of eyes: each clip with its samples and the truth of its world."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from benchmarks.label_truth import ClipTruth, Subject, world_truth
from pipeline.collect import Finished, finished
from pipeline.plan import Plan
from pipeline.run_local import run_local
from pipeline.sources import read_sources
from schemas.clip import Box, CaptionedClip, DescribedClip, Trajectory
from schemas.sample import ComposedClip, Sample, ScoredClip, ScorerCard
from schemas.time import seconds
from schemas.video import Source, Video
from stages.caption_clip import CaptionClip
from stages.compose_samples import ComposeSamples
from stages.decode_clip import DecodeClip
from stages.describe_tracks import DescribeTracks
from stages.detect_objects import DetectObjects
from stages.media.reader import Reader
from stages.media.world_film import WorldShot, random_film, write_world_film
from stages.probe_video import ProbeVideo
from stages.split_shots import SplitShots
from stages.track_objects import TrackObjects

SHOTS = 3  # of a film
FPS = (Fraction(25), Fraction(30), Fraction(24_000, 1001), Fraction(50))
SIDES_PX = (192, 256, 320, 384)
CRFS = (18, 23, 28)
MAX_SHAPES = (2, 3)
NO_SCORER = ScorerCard(
    scorer="none", dtype="", engine="", prompt_hash="", n_frames=None, scorer_domain="unknown", skill="", thresholds=""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueClip:
    """A clip as the chain leaves it, all samples that are composed of it, and what is true of it."""

    film: str
    clip_id: str
    tracks: Mapping[int, Mapping[int, Box]]  # by track id and tracking frame, in sides of the frame
    samples: tuple[Sample, ...]
    truth: ClipTruth


def in_sides(box: Box, width_px: float, height_px: float) -> Box:
    return (box[0] / width_px, box[1] / height_px, box[2] / width_px, box[3] / height_px)


def world_clips(folder: Path, *, films: int, seed: int) -> Iterator[TrueClip]:
    """Writes the films, of all rates and sizes in turn, and sends them through the chain with a build's defaults."""
    (folder / "films").mkdir()
    shots: dict[str, tuple[tuple[WorldShot, ...], Fraction]] = {}
    for i in range(films):
        fps, side_px = FPS[i % len(FPS)], SIDES_PX[i // len(FPS) % len(SIDES_PX)]
        worlds = random_film(seed + i, shots=SHOTS, max_shapes=MAX_SHAPES[i // 2 % len(MAX_SHAPES)])
        path = folder / "films" / f"{i:04d}.mp4"
        written = write_world_film(path, worlds, fps=fps, side_px=side_px, crf=CRFS[i % len(CRFS)])
        shots[path.name] = (written, fps)
    store = str(folder / "store")
    sources = read_sources(str(folder / "films"))
    with Reader() as reader:
        for done in described(sources, store, SplitShots(), DetectObjects(store_dir=store), TrackObjects()):
            for clip, frames in with_frames(reader, done):
                written, fps = shots[done.source_uri]
                yield true_clip(clip, done.source_uri, list(_subjects(clip, frames, written, fps)))


def described(
    sources: list[Source], store_dir: str, split: SplitShots, detect: DetectObjects, track: TrackObjects
) -> Iterator[Finished]:
    """The sources, each with its described clips; raises SystemExit where a row failed."""
    probe = Plan.of(sources, Source).then(ProbeVideo())
    videos = [row for done in finished(probe, run_local(probe)) for row in Video.from_arrow(done.rows)]
    plan = (
        Plan.of(videos, Video)
        .then(split)
        .then(DecodeClip(store_dir=store_dir))
        .then(detect)
        .then(track)
        .then(DescribeTracks())
    )
    for done in finished(plan, run_local(plan)):
        failed = [outcome for outcome in done.outcomes if outcome.kind != "skip"]
        if failed:
            raise SystemExit(f"{done.source_uri}: {failed[0]}")
        yield done


def with_frames(reader: Reader, done: Finished) -> Iterator[tuple[DescribedClip, list[int]]]:
    """The clips of a source, and which frames of the film their tracking frames are."""
    for clip in DescribedClip.from_arrow(done.rows):
        number = {tick: k for k, tick in enumerate(reader.packets(clip.location).ticks)}
        yield clip, [number[tick] for tick in clip.track_tick]


def true_clip(clip: DescribedClip, film: str, subjects: Sequence[Subject]) -> TrueClip:
    """With all samples that the composer makes of it, however risky."""
    (captioned,) = CaptionClip().process(None, [clip])
    samples: tuple[Sample, ...] = ()
    if isinstance(captioned, CaptionedClip):
        scored = captioned.extend(ScoredClip, caption_scores=(), scorer=NO_SCORER)
        (composed,) = ComposeSamples(max_risk=1.0).process(None, [scored])
        samples = composed.samples if isinstance(composed, ComposedClip) else ()
    truth = ClipTruth(tuple(subjects), tuple(times_s(clip)), clip.plan_index)
    tracks = tracks_of(clip.trajectories, clip.track_tick)
    return TrueClip(film=film, clip_id=clip.clip_id, tracks=tracks, samples=samples, truth=truth)


def tracks_of(paths: Sequence[Trajectory], track_tick: Sequence[int]) -> dict[int, dict[int, Box]]:
    """Boxes by track id and tracking frame, in sides of the frame."""
    number = {tick: k for k, tick in enumerate(track_tick)}
    return {
        path.track_id: {
            number[m.tick]: in_sides(m.box_xyxy_px, path.frame_width_px, path.frame_height_px) for m in path.moments
        }
        for path in paths
    }


def times_s(clip: DescribedClip) -> list[float]:
    """Of the tracking frames, from the clip's start."""
    return [seconds(tick - clip.start_tick, clip.time_base_num, clip.time_base_den) for tick in clip.track_tick]


def _subjects(
    clip: DescribedClip, frames: Sequence[int], shots: Sequence[WorldShot], fps: Fraction
) -> Iterator[Subject]:
    """Of each shot that the clip shows: of one, unless a cut was missed."""
    for shot in shots:
        at = [float((k - shot.first) / fps) if shot.first <= k < shot.end else None for k in frames]
        if any(now_s is not None for now_s in at):
            yield from world_truth(shot.world, at, times_s(clip))
