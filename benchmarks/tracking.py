"""How well do the trackers keep subjects apart, and how sure may one be of a track? On films with known truth.

    python -m benchmarks.tracking --truth TRUTH --videos VIDEOS --model DETECTOR.onnx [--anchors ANCHORS.npy]

needs the extras `onnx` and `bench`; writes benchmarks/results/tracking.{md,json}. TRUTH holds MOTChallenge files,
VIDEOS the films that they belong to. Boxes come from three sources: the truth itself, the public detections of PETS,
and the detector on frames of the size that a build stores. `engine` is what TrackObjects makes of the tracker's chains.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import pairwise, product
from pathlib import Path

import cv2
import numpy as np

from benchmarks.id_switches import Judged, calibration, judged
from benchmarks.mot import MATCH_IOU, Quality, Tracks, as_tracks, quality, read_boxes, read_truth
from schemas.clip import Box, DecodedClip, DetectedClip, TrackedClip
from stages.algorithms.camera import IDENTITY
from stages.algorithms.chains import TRACKERS, Thresholds, chains
from stages.algorithms.labels import COCO91
from stages.decode_clip import store_size
from stages.detect_objects import recognised
from stages.models.detector import Found
from stages.models.onnx_detector import Export, OnnxDetector
from stages.track_objects import RECOGNISED, TrackObjects

RESULTS = Path(__file__).parent / "results"
DEN = 90_000
LEAST_SCORE = 0.3  # of the detector, as in the recipe people_and_cars
PUBLIC_START = 0.9  # chosen on the same film, the only one with public detections
PATIENCE_S, MIN_TRACK_S = 1.0, 0.5
STORE_SIDE_PX = 480
TARGETS = (
    ("TUD-Stadtmitte", "true boxes", "mota", 0.95),
    ("TUD-Stadtmitte", "true boxes", "idf1", 0.97),
    ("PETS09-S2L1", "public", "idf1", 0.48),
)


@dataclass(frozen=True, slots=True)
class Camera:
    name: str
    film: str
    fps: int


CAMERAS = (
    Camera("TUD-Campus", "TUD-Campus.mp4", 25),
    Camera("TUD-Stadtmitte", "TUD-Stadtmitte.mp4", 25),
    Camera("PETS09-S2L1", "vtest.avi", 10),
)


@dataclass(frozen=True, slots=True)
class Boxes:
    """One film's boxes from one source, in pixels of the film."""

    camera: Camera
    source: str
    boxes: list[np.ndarray]
    scores: list[np.ndarray]
    thresholds: Thresholds

    @property
    def time_s(self) -> list[float]:
        return [t / self.camera.fps for t in range(len(self.boxes))]


@dataclass(frozen=True, slots=True)
class Cell:
    camera: str
    source: str
    tracker: str
    tracks_of: str  # "tracker" | "engine"
    quality: Quality
    agreement: float | None  # of the engine's tracks: share of their links that the tracker makes backward, too


def read_film(path: Path) -> list[np.ndarray]:
    """All frames, RGB, in the size that a build stores."""
    film, frames = cv2.VideoCapture(str(path)), []
    while (read := film.read())[0]:
        height_px, width_px = read[1].shape[:2]
        small = cv2.resize(read[1], store_size(width_px, height_px, STORE_SIDE_PX), interpolation=cv2.INTER_AREA)
        frames.append(np.ascontiguousarray(small[:, :, ::-1]))
    if not frames:
        raise SystemExit(f"{path} cannot be read")
    return frames


def clip_of(camera: Camera, n_frames: int, frame_HWC: np.ndarray, size_px: tuple[int, int]) -> DecodedClip:
    """The row that stands for a film of a camera that stands."""
    ticks = tuple(t * DEN // camera.fps for t in range(n_frames))
    return DecodedClip(
        video_id=camera.name, uri=camera.film, location=camera.film, clip_id=camera.name, shot_index=0, start_tick=0,
        end_tick=n_frames * DEN // camera.fps, time_base_num=1, time_base_den=DEN, width_px=size_px[0],
        height_px=size_px[1], rotation_deg=0, is_whole_video=True, camera="static", camera_speed=None, luminance=0.5,
        blur=100.0, motion=0.0, frame_hash="0" * 16, caption_given=None, qa_given=(), track_tick=ticks,
        plan_index=(0,), store_width_px=frame_HWC.shape[1], store_height_px=frame_HWC.shape[0],
    )  # fmt: skip


def film_size_px(path: Path) -> tuple[int, int]:
    film = cv2.VideoCapture(str(path))
    return int(film.get(cv2.CAP_PROP_FRAME_WIDTH)), int(film.get(cv2.CAP_PROP_FRAME_HEIGHT))


def found_by(boxes: Boxes, scale: float) -> list[list[Found]]:
    """The boxes as a detector reports them, in pixels of the stored frames."""
    return [
        [
            Found((x1 * scale, y1 * scale, x2 * scale, y2 * scale), "person", float(score))
            for (x1, y1, x2, y2), score in zip(row_N4.tolist(), scores_N, strict=True)
        ]
        for row_N4, scores_N in zip(boxes.boxes, boxes.scores, strict=True)
    ]


def given(camera: Camera, source: str, path: Path, n_frames: int, size_px: tuple[int, int]) -> Boxes:
    """Boxes of a MOTChallenge file, cut to the frame as a detector's are; those of the truth have score 1."""
    rows: list[list[Box]] = [[] for _ in range(n_frames)]
    scores: list[list[float]] = [[] for _ in range(n_frames)]
    for frame, _, (x1, y1, x2, y2), score in read_boxes(path):
        box = (max(0.0, x1), max(0.0, y1), min(float(size_px[0]), x2), min(float(size_px[1]), y2))
        counts = source != "true boxes" or score > 0  # the truth marks by 0 what is not to be considered
        if counts and box[0] < box[2] and box[1] < box[3]:
            rows[frame].append(box)
            scores[frame].append(1.0 if source == "true boxes" else score)
    start = RECOGNISED.start_score if source == "true boxes" else PUBLIC_START
    thresholds = Thresholds(start_score=start, min_iou=RECOGNISED.min_iou, box_buffer=RECOGNISED.box_buffer)
    return _boxes(camera, source, rows, scores, thresholds)


def detected(camera: Camera, frames: Sequence[np.ndarray], size_px: tuple[int, int], detector: OnnxDetector) -> Boxes:
    """What the detector finds, in pixels of the film."""
    scale = size_px[0] / frames[0].shape[1]
    found = [detector.find(f[None], least_score=LEAST_SCORE, classes=("person",))[0] for f in frames]
    rows: list[list[Box]] = [[] for _ in found]
    for t, things in enumerate(found):
        for thing in things:
            x1, y1, x2, y2 = thing.box_xyxy_px
            rows[t].append((x1 * scale, y1 * scale, x2 * scale, y2 * scale))
    return _boxes(camera, "detector", rows, [[f.score for f in things] for things in found], RECOGNISED)


def _boxes(
    camera: Camera, source: str, rows: Sequence[Sequence[Box]], scores: Sequence[Sequence[float]], own: Thresholds
) -> Boxes:
    return Boxes(
        camera,
        source,
        [np.array(row, dtype=np.float64).reshape(-1, 4) for row in rows],
        [np.array(row, dtype=np.float64) for row in scores],
        own,
    )


def measure(boxes: Boxes, tracker: str, truth: Tracks, row: DetectedClip) -> list[Cell]:
    """The tracker's chains and the engine's tracks against the truth."""
    n = len(boxes.boxes)
    found = chains(
        boxes.boxes, boxes.scores, boxes.time_s, tracker=tracker, patience_s=PATIENCE_S, thresholds=boxes.thresholds
    )
    step_s = 1 / boxes.camera.fps
    long = [c for c in found if boxes.time_s[c[-1][0]] - boxes.time_s[c[0][0]] + step_s >= MIN_TRACK_S - 1e-6]
    alone = as_tracks([[(t, tuple(boxes.boxes[t][i])) for t, i in chain] for chain in long])
    stage = stage_of(boxes, tracker)
    tracked = stage.process(None, [row])[0]
    if not isinstance(tracked, TrackedClip):
        raise SystemExit(f"{boxes.camera.name}, {boxes.source}, {tracker}: {tracked}")
    made = [link for track in tracked.tracks for link in pairwise(track.observations)]
    backward = stage.hindsight(row).backward
    agreement = sum(link in backward for link in made) / max(1, len(made))
    own = as_tracks([[(o.frame, o.box_xyxy_px) for o in track.observations] for track in tracked.tracks])
    named = (boxes.camera.name, boxes.source, tracker)
    return [
        Cell(*named, "tracker", quality(truth, alone, n), None),
        Cell(*named, "engine", quality(truth, own, n), agreement),
    ]


def row_of(boxes: Boxes, clip: DecodedClip, frames: Sequence[np.ndarray]) -> DetectedClip:
    """The boxes as DetectObjects gives them."""
    found = found_by(boxes, clip.store_width_px / clip.width_px)
    row = recognised(clip, np.stack(frames), found, [IDENTITY] * len(frames), {}, "onnx/benchmark")
    if not isinstance(row, DetectedClip):
        raise SystemExit(f"{boxes.camera.name}, {boxes.source}: {row}")
    return row


def stage_of(boxes: Boxes, tracker: str) -> TrackObjects:
    """The build's own stage."""
    return TrackObjects(
        tracker=tracker, patience_s=PATIENCE_S, min_track_s=MIN_TRACK_S, start_score=boxes.thresholds.start_score
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--anchors", default="")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of tracking.md and tracking.json")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    export = Export(model=args.model, anchors=args.anchors, labels=COCO91, pixels=(-1.0, 1.0), resize="stretch")
    detector = OnnxDetector(export, threads=1)
    cells: list[Cell] = []
    rows: list[Judged] = []
    for camera in CAMERAS:
        path, truth_path = args.videos / camera.film, args.truth / f"{camera.name}_gt.txt"
        frames, size_px, truth = read_film(path), film_size_px(path), read_truth(truth_path)
        if max(max(track) for track in truth.values()) >= len(frames):
            raise SystemExit(f"{truth_path} tells of frames that {path} does not have: {len(frames)} frames were read")
        sources = [given(camera, "true boxes", truth_path, len(frames), size_px)]
        public = args.truth / f"{camera.name}_det.txt"
        sources += [given(camera, "public", public, len(frames), size_px)] if public.exists() else []
        sources.append(detected(camera, frames, size_px, detector))
        clip = clip_of(camera, len(frames), frames[0], size_px)
        made = [(boxes, row_of(boxes, clip, frames)) for boxes in sources]
        for (boxes, row), tracker in product(made, TRACKERS):
            new = measure(boxes, tracker, truth, row)
            cells += new
            if boxes.source != "true boxes":
                rows += judged(row, stage_of(boxes, tracker), truth, camera.name, boxes.source)
            sys.stderr.write(
                f"{camera.name}, {boxes.source}, {tracker}: {new[0].quality.text}; {new[1].quality.text}\n"
            )
    args.out.mkdir(parents=True, exist_ok=True)
    text, data = report(cells, rows, export)
    (args.out / "tracking.md").write_text(text)
    (args.out / "tracking.json").write_text(json.dumps(data, indent=1) + "\n")


def report(cells: Sequence[Cell], rows: Sequence[Judged], export: Export) -> tuple[str, dict]:
    """The tables as Markdown, and all of their numbers."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, no GPU; Python {platform.python_version()}"
    lines = [
        "# Tracking against the truth",
        "",
        f"trackers {version('trackers')}, TrackEval {version('trackeval')}, {Path(export.model).name} "
        f"({export.revision}) in ONNX Runtime {version('onnxruntime')}. Machine: {machine}.",
        "",
        f"Patience {PATIENCE_S:g} s, tracks of {MIN_TRACK_S:g} s at least, matches at IoU {MATCH_IOU:g}. `engine`: "
        "tracks as TrackObjects gives them, which ends chains after the patience and drops broken ones. "
        "Thresholds of the detector were chosen on TUD-Campus; the public detections begin tracks from score "
        f"{PUBLIC_START:g}, chosen on PETS itself.",
        "",
        "## Targets",
        "",
        "| film | boxes | measure | asked | tracker alone (bytetrack) | engine (bytetrack) |",
        "|-|-|-|-|-|-|",
    ]
    met = {(c.camera, c.source, c.tracker, c.tracks_of): c for c in cells}
    for camera, source, measure_name, asked in TARGETS:
        values = [getattr(met[camera, source, "bytetrack", of].quality, measure_name) for of in ("tracker", "engine")]
        said = [f"{value:.3f}, {'reached' if value >= asked else 'MISSED'}" for value in values]
        lines.append(f"| {camera} | {source} | {measure_name.upper()} | {asked:.2f} | {said[0]} | {said[1]} |")
    lines += [
        "",
        "## By camera, boxes and tracker",
        "",
        "Backward: share of the links of these tracks that the tracker also makes when it sees the film from its end.",
        "",
        "| film | boxes | tracker | tracks of | MOTA | IDF1 | HOTA | id switches | recall | precision | backward |",
        "|-|-|-|-|-|-|-|-|-|-|-|",
    ]
    for c in cells:
        agreed = "" if c.agreement is None else f"{c.agreement:.4f}"
        lines.append(f"| {c.camera} | {c.source} | {c.tracker} | {c.tracks_of} | {c.quality.text} | {agreed} |")
    text, data = calibration(rows)
    return "\n".join([*lines, "", *text, ""]), {
        "machine": machine,
        "cells": [asdict(c) for c in cells],
        **data,
    }


if __name__ == "__main__":
    main()
