"""Films of people with a tracking truth (MOTChallenge) through the build's own chain with a detector: extra `bench`.

The truth knows whose box is where. It knows no colour and no motion: those words of a record are not judged, nor
are the families that consist of them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.id_switches import CLIP_S
from benchmarks.label_films import TrueClip, described, in_sides, true_clip, with_frames
from benchmarks.label_truth import Look, Subject
from benchmarks.mot import Tracks, read_truth
from benchmarks.tracking import CAMERAS, LEAST_SCORE, PATIENCE_S
from pipeline.sources import read_sources
from stages.detect_objects import DetectObjects
from stages.media.reader import Reader
from stages.split_shots import SplitShots
from stages.track_objects import TrackObjects

LEAST_SIDE_PX = 12  # of a person's box, as in the recipe people_and_cars


def people_clips(videos: Path, truth: Path, store_dir: str, model: str, anchors: str) -> Iterator[TrueClip]:
    """The clips of each film under the settings of the recipe people_and_cars, for people alone."""
    detect = DetectObjects(
        expert="onnx", model=model, anchors=anchors, score=LEAST_SCORE, classes=("person",),
        min_side_px={"person": LEAST_SIDE_PX}, store_dir=store_dir,
    )  # fmt: skip
    known = {camera.film: read_truth(truth / f"{camera.name}_gt.txt") for camera in CAMERAS}
    sources = [source for film in known for source in read_sources(str(videos / film))]
    split, track = SplitShots(max_clip_s=CLIP_S), TrackObjects(patience_s=PATIENCE_S)
    with Reader() as reader:
        for done in described(sources, store_dir, split, detect, track):
            for clip, frames in with_frames(reader, done):
                size_px = (clip.width_px, clip.height_px)
                yield true_clip(clip, done.source_uri, list(_people(known[done.source_uri], frames, size_px)))


def _people(truth: Tracks, frames: Sequence[int], size_px: tuple[int, int]) -> Iterator[Subject]:
    """Who is in the picture at one of the film's `frames`, which are the tracking frames."""
    for boxes in truth.values():
        looks: dict[int, Look] = {}
        for k, number in enumerate(frames):
            if number not in boxes:
                continue
            x1, y1, x2, y2 = in_sides(boxes[number], *size_px)
            inside = (max(0.0, x1), max(0.0, y1), min(1.0, x2), min(1.0, y2))
            if inside[0] < inside[2] and inside[1] < inside[3]:
                area = (inside[2] - inside[0]) * (inside[3] - inside[1])
                looks[k] = Look(inside, area / ((x2 - x1) * (y2 - y1)))
        if looks:
            yield Subject(name="person", vague=None, has_known_looks=False, looks=looks, motions=None)
