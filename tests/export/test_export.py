"""The command on a built set: every sample in is a row out or a drop, and rows are what trainers read."""

import json
import shutil
from collections import Counter, namedtuple
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import decord
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers.video_utils import default_sample_indices_fn, read_video_decord
from typer.testing import CliRunner

from jobs.cli import app
from jobs.export import Written, refusal, write_export
from pipeline.build import NotOurs
from pipeline.footage import Film, Options, footage_of
from pipeline.formats.trainers import TRAINERS
from pipeline.verify import NotADataSet, verify
from schemas.sample import Drop, PublishedClip, PublishedSample
from stages.algorithms.reshow import NotShown
from stages.algorithms.rewards import reward
from stages.algorithms.samplers import Budget, Stated
from stages.algorithms.scene import Scene
from stages.algorithms.world import World
from stages.media.facts import Packets, StreamFacts
from tests.export.built import build
from tests.worlds import lies

WHOLE, CUT = (16, 3), (5,)
Export = Callable[..., tuple[Path, Written]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, World]]:
    """Two films that are one clip each, one of two clips; 30 frames a second."""
    folder = tmp_path_factory.mktemp("export")
    seeds = [(seed, 1) for seed in WHOLE] + [(seed, 2) for seed in CUT]
    worlds = build(folder / "set", folder / "films", seeds, fps=Fraction(30))
    verdict = verify(folder / "set")  # its only problems are that nothing is scored
    assert verdict.samples == verdict.proved + verdict.given > 30
    return folder / "set", worlds


@pytest.fixture(scope="module")
def exported(made: tuple[Path, dict], tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Each export is made once."""

    @cache
    def run(trainer: str, boxes: str = "paper", rl: bool = False) -> tuple[Path, Written]:
        to = tmp_path_factory.mktemp(trainer)
        return to, write_export(made[0], to, options(trainer, boxes=boxes, rl=rl))

    return run


def samples_of(out: Path) -> dict[str, PublishedSample]:
    return {s.sample_id: s for s in PublishedSample.from_arrow(pq.read_table(out / "data"))}


def options(trainer: str, frames: int = 8, fps: float | None = None, boxes: str = "paper", rl: bool = False) -> Options:
    return Options(trainer=trainer, budget=Budget(frames=frames, fps=fps), boxes=boxes, rl=rl)


def records(to: Path, trainer: str) -> list[dict[str, Any]]:
    text = [(to / f"{split}{TRAINERS[trainer].suffix}") for split in ("train", "validation")]
    found: list[dict[str, Any]] = []
    for file in (f for f in text if f.is_file()):
        body = file.read_text()
        found += json.loads(body) if file.suffix == ".json" else [json.loads(line) for line in body.splitlines()]
    return found


@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_sample_is_a_row_or_a_drop(made: tuple[Path, dict], exported: Export, trainer: str) -> None:
    to, done = exported(trainer)
    drops = Drop.from_arrow(pq.read_table(to / "dropped.parquet"))
    rows = [record["id"] for record in records(to, trainer)]
    assert sorted([*rows, *(d.key for d in drops)]) == sorted(samples_of(made[0]))
    account = json.loads((to / "export.json").read_text())
    assert (account["in"], account["out"]) == (len(rows) + len(drops), len(rows))
    assert account["dropped"] == dict(Counter(d.reason for d in drops))
    assert all(d.detail for d in drops)
    assert len(done.rows) > 10
    cut = [d for d in drops if d.reason == "loader_cannot_cut"]
    assert bool(cut) != TRAINERS[trainer].can_cut


@pytest.mark.parametrize("trainer", TRAINERS)
def test_rows_are_true_of_the_frames_that_decord_shows(made: tuple[Path, dict], exported: Export, trainer: str) -> None:
    """The row's own words about sampling, followed with a real reader, show the frames that the texts are about."""
    out, worlds = made
    _, done = exported(trainer)
    samples = samples_of(out)
    clips = {c.clip_id: c for c in PublishedClip.from_arrow(pq.read_table(out / "clips"))}
    judged = 0
    for row in done.rows:
        sample = samples[row.sample_id]
        reader = decord.VideoReader(row.location)
        rate, base = reader.get_avg_fps(), sample.time_base_num / sample.time_base_den
        first, last = 0, len(reader) - 1
        if row.span_s:
            first, last = -(-row.span_s[0] * rate // 1), row.span_s[1] * rate // 1
        shown_s = [tick * base for tick in row.frame_tick]
        starts = reader.get_frame_timestamp(range(len(reader)))[:, 0]
        wanted = [starts[int(k)] for k in BY_HAND[trainer](int(first), int(last), len(reader))]
        assert shown_s == pytest.approx(wanted, abs=1e-3)
        if sample.family == "given":
            assert row.answer == "Shapes, from 0.50 s on."
            continue
        if sample.family == "caption":  # tells of ends of tracks, which lie between two shown frames: test_reshow.py
            continue
        clip = clips[sample.clip_id]
        ticks = tuple(round((t - sample.start_tick) * base * 90_000) for t in row.frame_tick)
        truth = Scene.of((), 0, (1, 90_000), clip.tracks, clip.events)
        truth = Scene(ticks, 0, 1, 90_000, clip.tracks, clip.events, truth.names)
        told = Sampled(sample, row)
        found = lies(worlds[sample.clip_id], truth, told)  # pyright: ignore[reportArgumentType]
        # Off the tracking grid a box may be off by a hundredth; the judge wants a thousandth.
        assert [lie for lie in found if not lie.startswith("box ")] == []
        assert len(found) <= len(row.frame_tick) // 2
        judged += 1
    assert judged > 8


# Eight frames of a film of 30 a second, or of its frames `first` to `last`.
BY_HAND: dict[str, Callable[[int, int, int], Any]] = {
    "llava-next": lambda first, last, n: range(0, n, 30),
    "llava-onevision": lambda first, last, n: [k * n // 8 for k in range(8)],
    "qwen-vl": lambda first, last, n: np.linspace(first, last, 8).round(),
    "llama-factory": lambda first, last, n: np.linspace(0, n - 1, min(8, n // 15)).astype(int),
    "ms-swift": lambda first, last, n: np.linspace(first, last, 8).round(),
}


class Sampled:
    """A row as tests/worlds.py reads samples."""

    def __init__(self, sample: PublishedSample, row: Any) -> None:
        self.family, self.program, self.reward, self.risk = sample.family, row.program, row.reward, 0.0
        self.messages = [type("M", (), {"content": text}) for text in (row.question, row.answer)]


def test_transformers_own_reader_shows_these_frames(made: tuple[Path, dict], exported: Export) -> None:
    samples = samples_of(made[0])
    asked = partial(default_sample_indices_fn, num_frames=8)
    for row in exported("llava-onevision")[1].rows:
        frames, metadata = read_video_decord(row.location, asked)  # pyright: ignore[reportArgumentType]
        base = samples[row.sample_id].time_base_num / samples[row.sample_id].time_base_den
        assert [tick * base for tick in row.frame_tick] == pytest.approx(metadata.timestamps, abs=1e-3)
        assert len(frames) == 8


def test_llava_marks_the_film_by_image(exported: Export) -> None:
    for record in records(exported("llava-next")[0], "llava-next"):
        human, gpt = record["conversations"]
        assert human["value"].startswith("<image>\n")
        assert "<video>" not in human["value"] + gpt["value"]
        assert Path(record["video"]).is_file()


def test_llama_factory_finds_its_columns(exported: Export) -> None:
    to, _ = exported("llama-factory")
    info = json.loads((to / "dataset_info.json").read_text())
    for data in info.values():
        for record in json.loads((to / data["file_name"]).read_text()):
            messages, videos = record[data["columns"]["messages"]], record[data["columns"]["videos"]]
            assert sum(turn["value"].count("<video>") for turn in messages) == len(videos) == 1


def test_qwen_rows_carry_their_cut_and_swifts_too(exported: Export) -> None:
    swift = {r["id"]: r for r in records(exported("ms-swift")[0], "ms-swift")}
    cut = 0
    for record in records(exported("qwen-vl")[0], "qwen-vl"):
        film = record["messages"][0]["content"][0]
        told = {k: v for k, v in film.items() if k not in ("type", "video")}
        assert told["nframes"] == 8
        assert swift[record["id"]]["chat_template_kwargs"] == told
        assert swift[record["id"]]["videos"] == [film["video"]]
        cut += "video_start" in film
    assert cut > 5


def test_qwen_times_run_from_the_films_beginning(made: tuple[Path, dict], exported: Export) -> None:
    _, done = exported("qwen-vl", "qwen")
    samples = samples_of(made[0])
    seen = 0
    for row in done.rows:
        sample = samples[row.sample_id]
        if sample.family == "where" and row.span_s and row.span_s[0] > 0:
            frame = json.loads(row.program)["frame"]
            at = row.frame_tick[frame - 1] * sample.time_base_num / sample.time_base_den
            said = float(row.question.split("<")[1].split(" seconds>")[0])
            assert abs(said - at) <= 0.056
            seen += 1
    assert seen


@pytest.mark.parametrize("boxes", ["paper", "qwen", "llava"])
def test_rl_rows_reward_their_own_solution(exported: Export, boxes: str) -> None:
    to, _ = exported("ms-swift", boxes, True)
    rows = records(to, "ms-swift")
    assert len(rows) > 10
    assert (to / "rewards.py").is_file()
    for record in rows:
        assert [m["role"] for m in record["messages"]] == ["user"]
        assert reward(record["solution"], record["reward"]) == 1.0
        assert reward("", record["reward"]) == 0.0


def _films(out: Path, tmp_path: Path) -> tuple[Path, Path]:
    shutil.copytree(out, tmp_path / "set")
    shutil.copytree(out.parent / "films", tmp_path / "films")
    return tmp_path / "set", tmp_path / "films"


def test_films_that_are_gone_or_changed_are_drops(made: tuple[Path, dict], tmp_path: Path) -> None:
    out, films = _films(made[0], tmp_path)
    (films / "film16.mp4").unlink()
    shutil.copy(films / "film5.mp4", films / "film3.mp4")
    done = write_export(out, tmp_path / "to", options("qwen-vl"), videos=str(films))
    of = {s.sample_id: s.uri for s in samples_of(out).values()}
    reasons = {
        reason: {of[d.key] for d in done.drops if d.reason == reason} for reason in ("not_readable", "film_changed")
    }
    assert reasons == {"not_readable": {"film16.mp4"}, "film_changed": {"film3.mp4"}}
    assert not {of[row.sample_id] for row in done.rows} & {"film16.mp4", "film3.mp4"}


TICKS = tuple(range(0, 3000, 30))  # 100 frames at 30 a second
FACTS = StreamFacts(
    video_id="v", id_kind="bytes", n_bytes=1, container="mp4", codec="h264", width_px=64, height_px=64, rotation_deg=0,
    time_base_num=1, time_base_den=900, n_frames=100, start_tick=0, end_tick=3000, is_vfr=False, n_promised=None,
    damage=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("trainer", "ticks", "rate_hz", "has_open_gop", "reason"),
    [
        ("qwen-vl", TICKS, 30.0, False, None),
        ("llama-factory", (0, *(t + 29 for t in TICKS[1:])), 30.0, False, "clock_differs"),
        ("llava-onevision", (0, *(t + 29 for t in TICKS[1:])), 30.0, False, None),  # it tells the model no times
        ("llava-next", TICKS, 25.0, False, "rate_unclear"),
        ("llava-next", TICKS, 30.0, True, "open_groups"),
        ("llama-factory", TICKS, 30.0, True, None),  # PyAV from the beginning
        ("llava-next", TICKS[:30], 30.0, False, "too_few_frames"),
    ],
)
def test_films_that_a_loader_would_show_otherwise(
    trainer: str, ticks: tuple[int, ...], rate_hz: float, has_open_gop: bool, reason: str | None
) -> None:
    n, end = len(ticks), 30 * len(ticks)
    packets = Packets(ticks=ticks, end_tick=end, key_ticks=(0,), has_open_gop=has_open_gop, torn_tick=None)
    stated = Stated(n_frames=n, header_frames=n, rate_hz=rate_hz, duration_s=n / 30)
    film = Film(location="film", facts=replace(FACTS, end_tick=end), packets=packets, stated=stated)
    span = SPAN(0, end)
    if reason is None:
        footage_of(film, span, options(trainer))  # pyright: ignore[reportArgumentType]
        return
    with pytest.raises(NotShown) as why:
        footage_of(film, span, options(trainer))  # pyright: ignore[reportArgumentType]
    assert why.value.reason == reason


SPAN = namedtuple("SPAN", "start_tick end_tick")


def test_a_program_that_does_not_fit_is_a_drop(made: tuple[Path, dict], tmp_path: Path) -> None:
    out, films = _films(made[0], tmp_path)
    (shard,) = (out / "data").glob("*.parquet")
    rows = pq.read_table(shard).to_pylist()
    bad = {"no JSON": 1, '{"op":"fly"}': 2, '{"op":"where","track":1,"frame":99}': 3, '{"op":"when"}': 4}
    for program, k in bad.items():
        rows[k]["program"] = program
    pq.write_table(pa.Table.from_pylist(rows, schema=PublishedSample.schema()), shard)
    done = write_export(out, tmp_path / "to", options("qwen-vl"), videos=str(films))
    reasons = {drop.key: drop.reason for drop in done.drops}
    assert [reasons[rows[k]["sample_id"]] for k in bad.values()] == [
        "no_program",
        "no_single_answer",
        *["no_program"] * 2,
    ]


def test_too_many_frames_are_a_drop_not_a_shorter_film(made: tuple[Path, dict], tmp_path: Path) -> None:
    done = write_export(made[0], tmp_path, options("qwen-vl", frames=4000))
    assert not done.rows
    assert {d.reason for d in done.drops} == {"not_loaded"}


def test_the_same_export_again_takes_its_place(made: tuple[Path, dict], tmp_path: Path) -> None:
    write_export(made[0], tmp_path, options("ms-swift", rl=True))
    (tmp_path / "mine.txt").write_text("mine")
    write_export(made[0], tmp_path, options("llama-factory"))
    assert not (tmp_path / "rewards.py").exists()
    assert (tmp_path / "mine.txt").read_text() == "mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thing").write_text("x")
    with pytest.raises(NotOurs, match="thing"):
        write_export(made[0], tmp_path / "other", options("qwen-vl"))
    with pytest.raises(NotADataSet):
        write_export(tmp_path / "other", tmp_path / "new", options("qwen-vl"))


@pytest.mark.parametrize(
    ("trainer", "frames", "fps", "boxes", "rl", "why"),
    [
        ("llava", 8, None, "paper", False, "--for llava"), ("qwen-vl", 8, None, "pixels", False, "--boxes pixels"),
        ("qwen-vl", 1, None, "paper", False, "at least 2"), ("qwen-vl", 7, None, "paper", False, "even"),
        ("llava-next", 8, 0.5, "paper", False, "whole number"), ("llama-factory", 8, None, "qwen2.5", False, "resizes"),
        ("llava-next", 8, None, "paper", True, "rewards"), ("qwen-vl", 8, None, "molmo", True, "IoU"),
        ("qwen-vl", 8, -1.0, "paper", False, "above 0"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    trainer: str, frames: int, fps: float | None, boxes: str, rl: bool, why: str
) -> None:
    assert why in (refusal(options(trainer, frames, fps, boxes, rl)) or "")


def test_the_command(made: tuple[Path, dict], tmp_path: Path) -> None:
    run = CliRunner().invoke(
        app, ["export", str(made[0]), "--for", "llama-factory", "--frames", "8", "--to", str(tmp_path)]
    )
    assert run.exit_code == 0, run.output
    assert "dropped: loader_cannot_cut" in run.output
    assert "video_maxlen: 8, video_fps: 2" in run.output
    bad = CliRunner().invoke(app, ["export", str(made[0]), "--for", "vila", "--frames", "8", "--to", str(tmp_path)])
    assert bad.exit_code == 2
