"""What benchmarks/engine.py counts, on known answers; the fast scores of cuts are PySceneDetect's own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.engine_child import counted, counting
from benchmarks.engine_rows import PassVideo, empty_plan, some_videos
from benchmarks.engine_run import decodes, plain
from benchmarks.engine_spent import Spent, limited, measured, watched
from benchmarks.engine_split import by_speed, drawn, flow_px, probed, scene_cuts
from benchmarks.engine_tables import efficiency, over_floor, over_loop, table, verdict
from pipeline.collect import finished
from pipeline.run_local import run_local
from schemas.video import Video
from stages.decode_clip import DecodeClip
from stages.media.film import write_film
from stages.media.reader import Reader
from stages.split_shots import SplitShots
from tests.toys import Film, RatedBeat
from tests.toys import plan as toy_plan

N_FRAMES = 60
BURN = "import time\nwhile time.process_time() < 0.4: pass"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shots of 30 frames, 25 a second."""
    rng = np.random.default_rng(0)
    shots = [cv2.GaussianBlur(rng.integers(0, 255, (72, 128, 3), np.uint8), (0, 0), 3) * k for k in (1, 2)]
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    write_film(path, [shots[t * 2 // N_FRAMES] for t in range(N_FRAMES)], fps=Fraction(25))
    return path


@pytest.fixture
def counts(tmp_path: Path) -> Iterator[Path]:
    with counting(tmp_path / "counts"):
        yield tmp_path / "counts"


def test_cpu_of_children_is_counted() -> None:
    _, idle = measured(lambda: time.sleep(0.3))
    assert idle.cpu_s < 0.2
    assert idle.wall_s >= 0.3
    _, waited_for = measured(lambda: subprocess.run([sys.executable, "-c", BURN], check=True))
    assert 0.35 < waited_for.cpu_s < 2
    for measure in (measured, watched):
        command = [sys.executable, "-c", BURN + "\nprint(1, flush=True)\ntime.sleep(60)"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            _, alive = measure(child.stdout.readline)
            child.kill()
        assert 0.35 < alive.cpu_s < 2


def test_limits_end_a_command() -> None:
    done = limited([sys.executable, "-c", BURN + "\nprint('log')\nprint('{}')"], timeout_s=60, memory_gb=1)
    assert (done.how, done.said) == ("done", "{}")
    assert done.spent.cpu_s > 0.35
    failed = limited([sys.executable, "-c", "raise SystemExit(3)"], timeout_s=60, memory_gb=1)
    assert failed.how == "exit code 3"
    late = limited([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.5, memory_gb=1)
    assert late.how == "stopped after 0.5 s"
    assert late.spent.wall_s < 30
    big = limited([sys.executable, "-c", "b = bytes(1) * 2**28\nwhile True: pass"], timeout_s=60, memory_gb=0.2)
    assert big.how == "stopped at 0.2 GiB"
    assert big.peak_gb > 0.2


def test_every_decoded_picture_is_counted_once(film: Path, counts: Path) -> None:
    with Reader() as reader:
        video = probed(reader, film)
        first = counted(counts)
        assert sum(n for (who, _, _), n in first.items() if who == "scan") == 0
        (clips,) = SplitShots(min_clip_s=1.0).process(reader, [video])
        assert isinstance(clips, list)
        assert len(clips) == 2
        ticks = reader.packets(str(film)).ticks
        assert {k: n for k, n in counted(counts).items() if k[0] == "scan"} == {
            ("scan", str(film), tick): 1 for tick in ticks
        }
        before = counted(counts)
        reader.frames(str(film), [ticks[10]], 64, 36)
    again = counted(counts) - before
    assert {tick for _, _, tick in again} >= set(ticks[:11])  # one group of pictures: all before it come along


def test_decodes_by_hand(film: Path, counts: Path, tmp_path: Path) -> None:
    stages = [("SplitShots", SplitShots()), ("DecodeClip", DecodeClip(track_fps=5, store_dir=str(tmp_path / "store")))]
    with Reader() as reader:
        video = probed(reader, film)
    counts.unlink(missing_ok=True)
    work = plain([video], stages)
    assert work.rows_in == {"SplitShots": 1, "DecodeClip": 2}
    found = decodes(work.rows_out["DecodeClip"], counted(counts))  # type: ignore[arg-type]
    assert found["film_frames"] == N_FRAMES
    assert found["needed_frames"] == 2 * 6  # five a second of two clips of 1.2 s, both ends
    assert found["per_needed_frame"] == pytest.approx(2, abs=0.5)
    assert found["decoded_frames"] / N_FRAMES == found["per_film_frame"] <= 2.1


def test_the_plain_loop_gives_what_the_local_runner_gives() -> None:
    toys = toy_plan([Film(uri="a.mp4", n_scenes=1), Film(uri="b.mp4", n_scenes=1)])
    work = plain(Film.from_arrow(toys.source), toys.named)
    rows = [row for video in finished(toys, run_local(toys)) for row in RatedBeat.from_arrow(video.rows)]
    assert len(rows) == 4
    assert work.rows_out["RateBeats"] == rows
    assert work.rows_in == {"CutScenes": 2, "CutBeats": 2, "RateBeats": 4}


def test_an_empty_plan_passes_all_rows() -> None:
    rows = some_videos()
    plan = empty_plan(rows, PassVideo(), 3)
    assert [row for block in run_local(plan) for row in Video.from_arrow(block)] == rows


def test_cuts_of_pyscenedetect_alone(film: Path) -> None:
    assert scene_cuts(film) == [30]


def test_flow_of_a_pan_is_its_length() -> None:
    noise = np.random.default_rng(0).normal(size=(160, 260)).astype(np.float32)
    wide_HW = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # type: ignore[call-overload]
    assert flow_px(wide_HW[:, :256], wide_HW[:, 3:259]) == pytest.approx(3, abs=0.3)


def test_films_differ_in_speed_alone_or_in_all() -> None:
    assert len({(w.shapes[0].shape, w.shapes[0].colour, w.shapes[0].radius) for w in by_speed()}) == 1
    assert len({(w.shapes[0].shape, w.shapes[0].colour, w.shapes[0].radius) for w in drawn()}) > 12
    for world in (*by_speed(), *drawn()):
        assert all(world.shapes[0].box(t) is not None for t in np.linspace(0, world.duration_s, 20))


def test_ratios_by_hand() -> None:
    def spent(cpu_s: float, wall_s: float) -> dict[str, float]:
        return {"cpu_s": cpu_s, "wall_s": wall_s}

    part: dict[str, Any] = {"loop": spent(52, 60), "loop_start": spent(2, 10)}
    one = {"workers": 1, "cores": 1, "start": spent(20, 30), "whole": spent(80, 110)}
    two = {"workers": 2, "cores": 2, "start": spent(30, 40), "whole": spent(90, 90)}
    assert over_loop(part, one, "cpu_s") == pytest.approx(60 / 50)
    assert efficiency(one, two) == pytest.approx(80 / 50 / 2)
    films = [{"split": spent(3, 3), "floor": spent(1, 1)}, {"split": spent(1, 1), "floor": spent(3, 3)}]
    assert over_floor({"films": films}) == pytest.approx(1)
    assert Spent.middle([Spent(1, 9), Spent(5, 2), Spent(2, 3)]) == Spent(2, 3)
    assert verdict(1.2, 1.15, at_most=True) == "1.20 (target <= 1.15: **missed**)"
    assert verdict(0.9, 0.9, at_most=False) == "0.90 (target >= 0.9: reached)"
    told = table({"peers": {"machine": "m", "load_before": 0.5, "not_run": "no --data-juicer was given"}})
    assert "Not run here: no --data-juicer was given." in told
    assert "Machine: m" in told
