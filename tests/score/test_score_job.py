"""`utr score`, whole: every row comes out once, equal on every runner and after every kind of end."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from jobs.cli_score import app
from jobs.console import Console
from jobs.score_tpl import Options, score
from pipeline.formats.read import read_pairs
from pipeline.pair_rows import score_rows
from pipeline.run_ray import local_ray
from schemas.outcome import Outcome
from schemas.pair import PairClip, PairScore, PairTokens
from schemas.sample import ScorerCard
from stages.algorithms.thresholds import Thresholds
from stages.algorithms.tpl import Context
from stages.measure import measure
from stages.models.checkpoint import CARD, EMBEDDED
from stages.models.protocols import Reading, Target, TooLong
from stages.plan_pairs import PlanPairs
from stages.score_pairs import PairEyes, ScorePairs, frame_times
from tests.score.conftest import shards, utr


@pytest.fixture(scope="module")
def scored(llava: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records scored undisturbed, in this process."""
    out = tmp_path_factory.mktemp("scored") / "out"
    run(llava, out)
    return out


def run(data: Path, out: Path, *, runner: str = "local", options: Options | None = None) -> None:
    given = read_pairs(str(data))
    score(given, out, options or Options(), runner=runner, workers=1, resume=False, console=Console(quiet=True))


def test_rows_in_are_rows_scored_skipped_and_failed(scored: Path) -> None:
    scores, failures = pl.read_parquet(scored / "scores/*.parquet"), pl.read_parquet(scored / "failures/*.parquet")
    found = Counter(zip(failures["stage"], failures["kind"], failures["reason"], strict=True))
    assert found == {
        ("ReadPairs", "failure", "ImageOnly"): 1,
        ("ReadPairs", "failure", "NoVideoKey"): 1,
        ("ReadPairs", "failure", "EmptyAnswer"): 1,
        ("PlanPairs", "failure", "ReadError"): 3,  # two turns about a missing film, one about a text
        ("PlanPairs", "skip", "too_few_frames"): 1,  # a span behind the film's end
    }
    assert scores["pair_id"].to_list() == [f"llava-000000{k}" for k in ("0-t00", "0-t01", "2-t00", "1-t00", "3-t00")]
    funnel = json.loads((scored / "manifest.json").read_text())["funnel"]
    assert [(line["stage"], line["rows_in"], line["rows_out"]) for line in funnel] == [
        ("ReadPairs", 12, 9),
        ("PlanPairs", 9, 5),
        ("DecodePairs", 5, 5),
        ("ScorePairs", 5, 5),
    ]


def test_tables_have_the_columns_of_their_types(scored: Path) -> None:
    for table, row in {"scores": PairScore, "tokens": PairTokens, "failures": Outcome}.items():
        for path in (scored / table).glob("*.parquet"):
            assert pq.read_schema(path).equals(row.schema(), check_metadata=False), table


def test_quantities_follow_from_the_tokens(scored: Path) -> None:
    tokens = pl.read_parquet(scored / "tokens/*.parquet").with_columns(nll=-pl.col("token_logprob").list.sum())
    for row in pl.read_parquet(scored / "scores/*.parquet").iter_rows(named=True):
        mine = tokens.filter(pl.col("pair_id") == row["pair_id"])
        nll = {(c, f): v for c, f, v in mine.select("context", "frame", "nll").iter_rows()}
        curve = [nll["frame", t] - nll["video", None] for t in range(row["n_frames"])]
        assert row["curve"] == pytest.approx(curve, abs=1e-4)
        assert row["tpl_per_token"] == pytest.approx(np.mean(curve) / row["n_tokens"], abs=1e-4)
        assert row["curve"][row["best_frame"]] == row["tpl_key"]
        shuffles = [v for (c, _), v in nll.items() if c == "shuffled"]
        assert len(shuffles) == 4
        assert row["order_gain"] == pytest.approx(np.mean(shuffles) - nll["video", None], abs=1e-4)
        shown = {(c, f): s for c, f, s in mine.select("context", "frame", "shown").iter_rows()}
        every = list(range(row["n_frames"]))
        assert shown["video", None] == every
        assert shown["reversed", None] == every[::-1]
        assert shown["frame", 2] == [2]
        assert shown["text", None] == []
        assert sorted(shown["shuffled", 0]) == every
        for certified, frame in mine.filter(pl.col("context") == "held").select("shown", "frame").iter_rows():
            assert sorted(set(certified)) == sorted(row["certificate"])
            assert len(certified) == (row["n_frames"] if frame is None else 1)
        assert all(len(row["token_id"]) == len(row["token_logprob"]) for row in mine.iter_rows(named=True))


def test_a_later_turn_is_read_with_the_turns_before_it(films: Path, llava: Path, scored: Path) -> None:
    given = read_pairs(str(llava)).sources[0]
    stage = PlanPairs()
    reader = stage.open()
    (clips,) = stage.process(reader, [given])
    stage.close(reader)
    clip = clips[0]  # type: ignore[index]
    assert isinstance(clip, PairClip)
    eyes = ScorePairs().open()
    frames = eyes.frames.fetch(clip.video_id, clip.location, clip.frame_tick, clip.store_width_px, clip.store_height_px)
    watched = eyes.scorer.watch(frames, frame_times(clip))
    target = Target("x", "How many shapes are there?", "Two.",
                    (("What happens in this video?", "A large red circle moves right."),))  # fmt: skip
    (alone,) = measure(
        watched,
        [target],
        n_frames=8,
        key=clip.clip_id,
        thresholds=None,
        measures=ScorePairs(certificate=False).measures,
    )
    ScorePairs().close(eyes)
    row = pl.read_parquet(scored / "scores/*.parquet").filter(pl.col("pair_id") == "llava-0000000-t01")
    assert row["nll_video"].item() == pytest.approx(alone.nll_video, abs=1e-3)
    assert row["curve"].item().to_list() == pytest.approx(alone.curve, abs=1e-3)
    assert row["n_history"].item() == 1


def test_a_span_is_read_with_its_own_frames(scored: Path) -> None:
    row = pl.read_parquet(scored / "scores/*.parquet").filter(pl.col("pair_id") == "llava-0000002-t00")
    second = row["time_base_den"].item() / row["time_base_num"].item()
    ticks = row["frame_tick"].item().to_list()
    assert (row["start_tick"].item() / second, row["end_tick"].item() / second) == (0.5, 1.5)
    assert 0.5 * second <= min(ticks) <= max(ticks) < 1.5 * second
    assert len(ticks) == row["n_frames"].item() == 8


@dataclass(slots=True)
class FakeScorer:
    """Finds every token as likely as a coin; counts watches, and knows texts that it cannot read."""

    watches: list[Sequence[str]] = field(default_factory=list)
    thresholds: Thresholds | None = None
    n_frames: int | None = None
    taught: tuple[str, ...] | None = None
    floor: float = 1e-5

    def card(self, frames_THWC: np.ndarray) -> ScorerCard:
        return ScorerCard(scorer="fake@1", dtype="float32", engine="none", prompt_hash="", n_frames=8,
                          scorer_domain="out", skill="{}", thresholds="{}")  # fmt: skip

    def watch(self, frames_THWC: np.ndarray, times: Sequence[str]) -> "FakeScorer":
        self.watches.append(times)
        return self

    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        for target in targets:
            if target.answer == "too long":
                raise TooLong(f"{target.target_id}: 9 + 9 tokens > 10")
        nan = {t.target_id: np.nan if t.answer == "nan" else np.log(0.5) for t in targets}
        return [Reading((1, 2), tuple(np.full(2, nan[t.target_id], np.float32) for _ in contexts)) for t in targets]


class Gains(FakeScorer):
    """Finds every token a tenth of a nat likelier with the film, or any part of it."""

    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        row = [np.full(2, -0.9 if c.index else -1.0, np.float32) for c in contexts]
        return [Reading((1, 2), tuple(row)) for _ in targets]


@pytest.mark.parametrize(("floor", "gains"), [(0.09, True), (0.11, False)])
def test_a_gain_within_the_floor_of_the_number_format_is_none(
    films: Path, tmp_path: Path, floor: float, gains: bool
) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"uri": "a.mp4", "caption": "A dog runs."}))
    stage = PlanPairs()
    reader = stage.open()
    clip = stage.process(reader, list(read_pairs(str(path), videos=str(films)).sources))[0][0]  # type: ignore[index]
    stage.close(reader)
    assert isinstance(clip, PairClip)
    eyes = ScorePairs().open()
    (found,) = ScorePairs().process(PairEyes(Gains(floor=floor), eyes.frames), [clip])
    ScorePairs().close(eyes)
    (score,) = found.scores
    assert (score.hackability is not None, score.certificate is not None) == (gains, gains)


def test_texts_about_a_span_share_one_watch_and_spoil_no_other(films: Path, tmp_path: Path) -> None:
    answers = ["yes", "too long", "no", "nan"]
    qa = [{"question": f"q{k}?", "answer": answer} for k, answer in enumerate(answers)]
    path = films / "four.jsonl"
    path.write_text(json.dumps({"uri": "a.mp4", "qa": qa}))
    stage = PlanPairs()
    reader = stage.open()
    clip = stage.process(reader, list(read_pairs(str(path)).sources))[0][0]  # type: ignore[index]
    stage.close(reader)
    assert isinstance(clip, PairClip)
    fake, eyes = FakeScorer(), ScorePairs().open()
    (found,) = ScorePairs().process(PairEyes(fake, eyes.frames), [clip])
    ScorePairs().close(eyes)
    assert len(fake.watches) == 1
    assert [s.target_id for s in found.scores] == ["four-0000000-t00", "four-0000000-t02"]
    assert [(d.key, d.reason) for d in found.drops] == [
        ("four-0000000-t01", "too_long"),
        ("four-0000000-t03", "not_finite"),
    ]
    assert [row.verdict for row in score_rows(found)] == [None, None]


def test_ray_gives_the_same_bytes(llava: Path, grounded: Path, scored: Path, tmp_path: Path) -> None:
    early = Options(budget="early", frames=12)
    run(grounded, tmp_path / "early", options=early)
    assert max(pl.read_parquet(tmp_path / "early/scores/*.parquet")["n_read"].to_list()) > 4  # in rounds
    with local_ray(num_cpus=2):
        run(llava, tmp_path / "out", runner="ray")
        run(grounded, tmp_path / "early-ray", runner="ray", options=early)
    assert shards(tmp_path / "out") == shards(scored)
    assert shards(tmp_path / "early-ray") == shards(tmp_path / "early")


def wait_for_a_commit(process: "subprocess.Popen[str]", out: Path) -> None:
    """Patient, because the machine may be busy; fails where the run ends before."""
    until = time.monotonic() + 200
    while not list((out / "_work/videos").glob("*.arrow")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, "no commit in 200 s"
        time.sleep(0.01)


@pytest.mark.timeout(420)
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_ended_anywhere_and_run_again_gives_the_same_bytes(
    llava: Path, scored: Path, tmp_path: Path, end: signal.Signals
) -> None:
    out = tmp_path / "out"
    command = ("score", "--data", llava, "--out", out, "--runner", "local")
    with utr(*command) as process:
        try:
            wait_for_a_commit(process, out)
            os.killpg(process.pid, end)
            text, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert not (out / "manifest.json").exists()
    assert end is signal.SIGKILL or (process.returncode == 130 and "the same command goes on" in text)
    again = CliRunner().invoke(app, [*map(str, command), "--resume"])
    assert again.exit_code == 0, again.output
    assert "12 rows in = 5 scored + 1 skipped + 6 failed" in again.output
    assert shards(out) == shards(scored)


def test_without_a_card_or_at_another_length_there_is_no_verdict(films: Path, tmp_path: Path) -> None:
    path = films / "plain.jsonl"
    path.write_text("".join(json.dumps({"uri": f"{n}.mp4", "caption": "A large red circle."}) + "\n" for n in "ab"))
    bare = tmp_path / "bare"
    shutil.copytree(EMBEDDED, bare, ignore=shutil.ignore_patterns(CARD))
    cheap = Options(shuffles=0, segments=False, certificate=False)
    run(path, tmp_path / "four", options=replace(cheap, frames=4))
    run(path, tmp_path / "bare-out", options=replace(cheap, scorer=str(bare), prompt="paper"))
    four, none = (pl.read_parquet(tmp_path / name / "scores/*.parquet") for name in ("four", "bare-out"))
    assert four["verdict"].to_list() == none["verdict"].to_list() == [None, None]
    assert (four["n_frames"].to_list(), four["scorer_frames"].to_list()) == ([4, 4], [8, 8])
    assert (none["n_frames"].to_list(), none["scorer_frames"].to_list()) == ([8, 8], [None, None])
    assert set(none["scorer_domain"]) == {"unknown"}
    assert none["order_gain"].null_count() == none["certificate"].null_count() == 2
    assert "not calibrated" in (tmp_path / "bare-out/README.md").read_text()


class WithEtag(SimpleHTTPRequestHandler):
    """Serves files with the etag that a store would give."""

    def end_headers(self) -> None:
        self.send_header("ETag", '"1"')
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_videos_are_read_by_url(films: Path, tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(WithEtag, directory=str(films)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = tmp_path / "one.jsonl"
    path.write_text("".join(json.dumps({"uri": f"{n}.mp4", "caption": "A dog."}) + "\n" for n in ("a", "none")))
    cheap = Options(shuffles=0, segments=False, certificate=False)
    given = read_pairs(str(path), videos=f"http://127.0.0.1:{server.server_port}/")
    score(given, tmp_path / "url", cheap, runner="local", workers=1, resume=False, console=Console(quiet=True))
    server.shutdown()
    server.server_close()
    failures = pl.read_parquet(tmp_path / "url/failures/*.parquet")
    assert failures["uri"].to_list() == ["none.mp4"]
    shutil.copy(films / "a.mp4", tmp_path)
    run(path, tmp_path / "file", options=cheap)
    by_url, by_file = (pl.read_parquet(tmp_path / name / "scores/*.parquet") for name in ("url", "file"))
    assert by_url["curve"].to_list() == by_file["curve"].to_list()


def test_a_repaired_film_is_scored_by_the_same_command(films: Path, tmp_path: Path) -> None:
    path = tmp_path / "two.jsonl"
    path.write_text("".join(json.dumps({"uri": f"{n}.mp4", "caption": "A dog."}) + "\n" for n in "ab"))
    shutil.copy(films / "a.mp4", tmp_path)
    cheap = Options(shuffles=0, segments=False, certificate=False)
    run(path, tmp_path / "out", options=cheap)
    assert pl.read_parquet(tmp_path / "out/failures/*.parquet")["uri"].to_list() == ["b.mp4"]
    before = (tmp_path / "out/_work/videos").stat().st_mtime_ns
    shutil.copy(films / "b.mp4", tmp_path)
    run(path, tmp_path / "out", options=cheap)
    assert (tmp_path / "out/_work/videos").stat().st_mtime_ns > before
    assert pl.read_parquet(tmp_path / "out/failures/*.parquet").height == 0
    assert pl.read_parquet(tmp_path / "out/scores/*.parquet")["uri"].to_list() == ["a.mp4", "b.mp4"]


def test_report_table_and_card_are_there(scored: Path) -> None:
    page = (scored / "report.html").read_text()
    assert "alpha" in page
    assert page.count("<article") == 5
    assert "no such file" in page
    lines = pl.read_csv(scored / "subsets.csv")
    assert set(lines["subset"]) == {"alpha", "beta", "(all)"}
    assert lines.filter(pl.col("subset") == "(all)")["n"].item() == 5
    assert "| alpha | 3 |" in (scored / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--frames", "1"], "--frames is at least 2"),
        (["--runner", "slurm"], "--runner slurm: ray or local"),
        (["--format", "image"], "images have no TPL"),
        (["--format", "pdf"], "--format pdf: auto, manifest"),
        (["--scorer", "nobody"], "scorer 'nobody': no such folder"),
        (["--resume"], "holds no unfinished run"),
    ],
)
def test_a_wrong_command_is_refused(llava: Path, tmp_path: Path, arguments: list[str], says: str) -> None:
    command = ["score", "--data", str(llava), "--out", str(tmp_path / "out"), "--runner", "local", *arguments]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 2
    assert says in found.output
    assert not (tmp_path / "out").exists()


def test_another_input_does_not_replace_what_is_sealed(films: Path, llava: Path, scored: Path) -> None:
    before = shards(scored)
    other = films / "other.json"
    other.write_text(llava.read_text())
    command = ["score", "--data", str(other), "--out", str(scored), "--runner", "local"]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 2
    assert f"{scored} holds the scores of {llava} (llava); those of {other} (llava) would take" in found.output
    assert shards(scored) == before


def test_other_measures_in_the_same_folder_are_refused(llava: Path, scored: Path) -> None:
    before = shards(scored)
    command = ["score", "--data", str(llava), "--out", str(scored), "--runner", "local", "--shuffles", "2"]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 2
    assert "ScorePairs.shuffles: 4 -> 2" in found.output
    assert shards(scored) == before
