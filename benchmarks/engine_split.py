"""Pass 1 beside what it replaces: decoding alone, PySceneDetect alone, a Farneback loop, Data-Juicer."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scenedetect import AdaptiveDetector, SceneManager, open_video

from benchmarks.engine_spent import Spent, limited, measured
from benchmarks.validation_stats import spearman
from schemas.clip import Clip
from schemas.video import Source, Video
from stages.algorithms.quality import motion, small_greys
from stages.algorithms.world import RADIUS, RGB, SHAPE_NAMES, STEP, Leg, Shape, World
from stages.media.frames import decoded_from_key
from stages.media.packets import opened
from stages.media.reader import Reader
from stages.media.world_film import write_world_film
from stages.probe_video import ProbeVideo
from stages.split_shots import SplitShots

JUICER = Path(__file__).parent / "peers" / "run_data_juicer.py"
FARNEBACK = {"pyr_scale": 0.5, "levels": 3, "winsize": 15, "iterations": 3, "poly_n": 5, "poly_sigma": 1.2, "flags": 0}
FARNEBACK_FPS = 2.0  # what Data-Juicer's filter samples, at full size
SPEEDS = np.geomspace(0.02, 1.5, 24)  # sides of the frame a second
FILM_S, FPS, SIDE_PX = 2.0, Fraction(25), 256
LEG = 0.6  # sides: there and back again


def split(films: Sequence[Path], repeats: int, worlds: int) -> dict[str, Any]:
    """CPU seconds by film and tool, the cuts of both, and how the motion scores rank."""
    stage = SplitShots()
    found: list[dict[str, Any]] = []
    reader, start = measured(lambda: _started(stage, films[0]))
    with reader:
        for film in films:
            video = probed(reader, film)
            rounds = [_round(stage, reader, film, video) for _ in range(repeats)]
            theirs = scene_cuts(film)
            ours = [b.start for b in stage.boundaries(reader, video)[1]]
            _, flow = measured(lambda film=film: farneback(film))
            spent = {
                name: asdict(Spent.middle([r[k] for r in rounds]))
                for k, name in enumerate(("floor", "scenedetect", "split"))
            }
            found.append(
                {"film": film.name, "frames": video.n_frames, **spent, "farneback": asdict(flow)}
                | {"cuts": ours, "scenedetect_cuts": theirs, "same_cuts": ours == theirs}
            )
        ranks = {name: rank(reader, made[:worlds]) for name, made in (("speed", by_speed()), ("drawn", drawn()))}
    return {"floor_by": floor_by(), "child_start": asdict(start), "repeats": repeats, "films": found, "rank": ranks}


def _started(stage: SplitShots, film: Path) -> Reader:
    reader = stage.open()
    reader.probe(str(film))
    return reader


def _round(stage: SplitShots, reader: Reader, film: Path, video: Video) -> tuple[Spent, Spent, Spent]:
    _, plain = measured(lambda: floor(film))
    _, scenes = measured(lambda: scene_cuts(film))
    _, ours = measured(lambda: stage.process(reader, [video]))
    return plain, scenes, ours


def floor_by() -> str:
    """Who decodes for the floor."""
    binary = shutil.which("ffmpeg")
    if binary is None:
        return "PyAV, no ffmpeg in PATH"
    said = subprocess.run([binary, "-version"], capture_output=True, text=True, check=True).stdout
    return " ".join(said.split()[:3]) + " -f null"


def floor(film: Path) -> None:
    """Decodes every picture on one thread, and does nothing with it."""
    binary = shutil.which("ffmpeg")
    if binary is None:
        with opened(str(film)) as (container, stream):
            assert sum(1 for _ in decoded_from_key(container, stream))
        return
    quiet = [binary, "-v", "error", "-nostdin", "-threads", "1"]
    film_in, nothing_out = ["-i", str(film), "-map", "0:v:0"], ["-fps_mode", "passthrough", "-f", "null", "-"]
    subprocess.run([*quiet, *film_in, *nothing_out], check=True)


def scene_cuts(film: Path) -> list[int]:
    """First frames of shots as PySceneDetect alone finds them: its own decoding, its own size, our shortest shot."""
    manager = SceneManager()
    manager.add_detector(AdaptiveDetector(min_scene_len=SplitShots().min_shot_s))
    manager.detect_scenes(open_video(str(film)))
    return [start.frame_num for start, _ in manager.get_scene_list()[1:]]


def farneback(film: Path) -> float:
    """Mean length of the flow in pixels, as Data-Juicer's filter measures it: two frames a second, full size."""
    capture = cv2.VideoCapture(str(film))
    step = max(1, round(capture.get(cv2.CAP_PROP_FPS) / FARNEBACK_FPS))
    before, found, index = None, [], 0
    while capture.grab():
        if index % step == 0:
            _, image = capture.retrieve()
            grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            if before is not None:
                found.append(flow_px(before, grey))
            before = grey
        index += 1
    capture.release()
    return float(np.mean(found)) if found else 0.0


def flow_px(before_HW: np.ndarray, after_HW: np.ndarray) -> float:
    """Mean length of Farneback's flow between two grey frames."""
    flow_HW2 = cv2.calcOpticalFlowFarneback(before_HW, after_HW, None, **FARNEBACK)  # type: ignore[call-overload]
    return float(np.linalg.norm(flow_HW2, axis=2).mean())


def by_speed() -> list[World]:
    """One red circle, at each of the speeds."""
    return [_world("circle", "red", RADIUS["large"][0], "right", float(speed)) for speed in SPEEDS]


def drawn() -> list[World]:
    """Shape, colour, size and direction drawn for each of the speeds: brightness and size are no motion."""
    rng = np.random.default_rng(0)
    return [
        _world(
            str(rng.choice(SHAPE_NAMES)),
            str(rng.choice(tuple(RGB))),
            float(rng.uniform(*RADIUS[str(rng.choice(tuple(RADIUS)))])),
            str(rng.choice(("right", "down"))),
            float(speed),
        )
        for speed in SPEEDS
    ]


def _world(shape: str, colour: str, radius: float, word: str, speed: float) -> World:
    back = {"right": "left", "down": "up"}[word]
    assert {word, back} <= set(STEP)
    legs = tuple(Leg((word, back)[k % 2], LEG / speed, LEG) for k in range(int(FILM_S * speed / LEG) + 1))
    start = (0.2, 0.5) if word == "right" else (0.5, 0.2)
    return World((Shape(shape, colour, "large", radius, start, legs, 0.0, FILM_S + 1),), FILM_S)


def rank(reader: Reader, worlds: Sequence[World]) -> dict[str, Any]:
    """Spearman's correlation with Farneback over a film a world: of what pass 1 says, of what FilterClips says."""
    scores: dict[str, list[float]] = {"farneback": [], "split": [], "filter": []}
    with tempfile.TemporaryDirectory() as folder:
        for k, world in enumerate(worlds):
            film = Path(folder) / f"{k}.mp4"
            write_world_film(film, [world], fps=FPS, side_px=SIDE_PX)
            (pieces,) = SplitShots().process(reader, [probed(reader, film)])
            assert isinstance(pieces, list), pieces
            (clip,) = pieces  # one shot
            assert isinstance(clip, Clip), clip
            greys = small_greys(reader.frames(str(film), reader.packets(str(film)).ticks, SIDE_PX, SIDE_PX))
            flows = [flow_px(a, b) for a, b in pairwise(greys)]
            scores["farneback"].append(float(np.mean(flows)))
            scores["split"].append(clip.motion)
            scores["filter"].append(motion(greys, [float(t / FPS) for t in range(len(greys) + 1)]))
    truth = np.array(scores["farneback"])
    found = {name: spearman(np.array(scores[name]), truth) for name in ("split", "filter")}
    return {"films": len(worlds), **found, "farneback_to_speed": spearman(truth, SPEEDS[: len(worlds)])}


def probed(reader: Reader, film: Path) -> Video:
    source = Source(uri=film.name, location=str(film), caption=None, qa=())
    (video,) = ProbeVideo().process(reader, [source])
    assert isinstance(video, Video), video
    return video


def data_juicer(python: Path, films: Sequence[Path], *, timeout_s: float, memory_gb: float) -> dict[str, Any]:
    """Its operators in its own interpreter, one process, all films in one run, each run within the limits."""
    found: dict[str, Any] = {"timeout_s": timeout_s, "memory_gb": memory_gb, "version": "?"}
    for kind in ("start", "scenes", "motion"):
        with tempfile.TemporaryDirectory() as folder:
            command = [str(python), str(JUICER), kind, folder, *map(str, films)]
            ended = limited(command, timeout_s=timeout_s, memory_gb=memory_gb)
        said = json.loads(ended.said) if ended.how == "done" else {}
        if kind == "start":
            found["version"] = said.pop("py-data-juicer", "?")
        found[kind] = {**asdict(ended.spent), "peak_gb": ended.peak_gb, "how": ended.how, "found": said}
    return found
