"""`utr score --budget`: fewer frames are read, rows say what was measured, and nothing chokes on what was not."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from pipeline.pair_rows import score_rows, token_rows
from schemas.pair import PairClip, PairScore
from schemas.sample import PublishedSample
from stages.algorithms.draws import draws
from stages.algorithms.tpl import Context
from stages.measure import Measures
from stages.media.child import Limits
from stages.media.frame_store import ClipFrames
from stages.models import vllm_load
from stages.models.protocols import Reading, Target
from stages.plan_pairs import PlanPairs
from stages.score_pairs import PairEyes, ScorePairs
from tests.fake_scorer import FakeScorer, FakeWatched
from tests.score.conftest import shards
from tests.vllm.checkpoints import checkpoint
from tests.vllm.known import Known, scorer

ANSWERS = ("one frame tells it", "nothing tells it", "ends tell it", "pair tells it")  # rules of the fake scorer
ONLY_FULL = (
    "best_frame", "tpl_key", "tpl_key_per_token", "tpl_random", "tpl_random_per_token", "static_gain",
    "static_gain_per_token", "top3", "order_gain", "order_gain_sd", "reverse_gain", "segment_gain", "effective_frames",
    "certificate", "certificate_share", "hackability", "flags",
)  # fmt: skip


@dataclass
class Watched(FakeWatched):
    """Remembers texts and contexts of every call."""

    calls: list[tuple[list[str], list[Context]]] = field(default_factory=list)

    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        self.calls.append(([t.answer for t in targets], list(contexts)))
        return super().read(targets, contexts)


@dataclass
class Remembering(FakeScorer):
    watched: list[Watched] = field(default_factory=list)

    def watch(self, frames_THWC: np.ndarray, times: Sequence[str]) -> Watched:
        self.watched.append(Watched(len(frames_THWC)))
        return self.watched[-1]


@pytest.fixture(scope="module")
def clip(films: Path, tmp_path_factory: pytest.TempPathFactory) -> PairClip:
    """Eight frames, and a text of each rule."""
    path = tmp_path_factory.mktemp("records") / "four.jsonl"
    path.write_text(json.dumps({"uri": "a.mp4", "qa": [{"question": "What?", "answer": a} for a in ANSWERS]}))
    stage = PlanPairs()
    reader = stage.open()
    (found,) = stage.process(reader, list(read_pairs(str(path), videos=str(films)).sources))[0]  # type: ignore[misc]
    stage.close(reader)
    assert isinstance(found, PairClip)
    return found


def known(clip: PairClip, budget: str) -> tuple[dict[str, PairScore], dict[str, Counter[tuple[str, int | None]]]]:
    """Rows by rule, and what was read of each."""
    stage = ScorePairs(budget=budget, shuffles=0, segments=False, certificate=False)
    fake = Remembering()
    eyes = PairEyes(fake, ClipFrames(stage.store_dir, stage.store_gb, Limits()))
    (found,) = stage.process(eyes, [clip])
    stage.close(eyes)
    (watched,) = fake.watched
    read: dict[str, Counter[tuple[str, int | None]]] = {answer.split()[0]: Counter() for answer in ANSWERS}
    for answers, contexts in watched.calls:
        for answer in answers:
            read[answer.split()[0]].update((c.kind, c.frame) for c in contexts)
    rows = {row.answer.split()[0]: row for row in score_rows(found)}
    told = Counter((row.pair_id, row.context, row.frame) for row in token_rows(found, Measures()))
    asked = {(rows[rule].pair_id, kind, frame): n for rule, own in read.items() for (kind, frame), n in own.items()}
    assert told == asked  # every token row was read, once, and the other way round
    return rows, read


def frames(read: Counter[tuple[str, int | None]]) -> list[int]:
    assert read["video", None] == read["text", None] == 1
    return sorted(frame for (kind, frame) in read if kind == "frame" and frame is not None)


CURVES = {"one": [0.0] * 8, "nothing": [0.0] * 8, "ends": [4.0, *[8.0] * 6, 4.0], "pair": [8.0] * 8}


def test_in_full_every_row_is_exact(clip: PairClip) -> None:
    rows, read = known(clip, "full")
    for rule, row in rows.items():
        assert frames(read[rule]) == list(range(8))
        assert (row.budget, row.n_read, row.n_frames, row.tpl_se) == ("full", 8, 8, 0.0)
        assert list(row.curve) == CURVES[rule]
        assert (row.tpl_key_most, row.best_read) == (row.tpl_key, row.best_frame)
    verdicts = {rule: row.verdict for rule, row in rows.items()}
    assert verdicts == {"one": "one-frame", "nothing": "ungrounded", "ends": "temporal", "pair": "temporal"}


def test_random_frames_are_those_of_the_clip_and_give_the_known_mean(clip: PairClip) -> None:
    rows, read = known(clip, "k=3")
    drawn = sorted(int(t) for t in draws(0, f"{clip.clip_id}/budget").permutation(8)[:3])
    for rule, row in rows.items():
        seen = [CURVES[rule][t] for t in drawn]
        assert frames(read[rule]) == drawn
        assert (row.budget, row.n_read, row.n_frames) == ("k=3", 3, 8)
        assert row.curve == tuple(CURVES[rule][t] if t in drawn else None for t in range(8))
        assert row.tpl == pytest.approx(np.mean(seen))
        assert row.tpl_per_token == pytest.approx(np.mean(seen) / row.n_tokens)
        assert row.tpl_se == pytest.approx(np.std(seen, ddof=1) / np.sqrt(3) * np.sqrt(5 / 8))
        assert (row.tpl_key_most, row.best_read) == (min(seen), drawn[int(np.argmin(seen))])
        assert [getattr(row, name) for name in ONLY_FULL] == [None] * len(ONLY_FULL)
    verdicts = {rule: row.verdict for rule, row in rows.items()}
    assert verdicts == {"one": "one-frame", "nothing": "ungrounded", "ends": None, "pair": None}


def test_coarse_claims_no_mean(clip: PairClip) -> None:
    rows, read = known(clip, "coarse")
    assert frames(read["ends"]) == [1, 3, 5, 6, 7]  # evenly, then the neighbour of the best one, the last
    for row in rows.values():
        assert row.n_read < 8
        assert (row.tpl, row.tpl_per_token, row.tpl_se, row.tpl_key) == (None, None, None, None)
    assert rows["ends"].tpl_key_most == 4.0


def test_early_reads_what_is_left_to_know(clip: PairClip) -> None:
    rows, read = known(clip, "early")
    assert {rule: len(frames(own)) for rule, own in read.items()} == {"one": 4, "nothing": 0, "ends": 8, "pair": 4}
    nothing, one, ends, pair = (rows[rule] for rule in ("nothing", "one", "ends", "pair"))
    assert (nothing.verdict, nothing.tpl, nothing.tpl_key_most, nothing.best_read) == ("ungrounded", None, None, None)
    assert (one.verdict, one.tpl, one.tpl_key, one.tpl_key_most) == ("one-frame", None, None, 0.0)
    assert (pair.verdict, pair.tpl, pair.tpl_se) == (None, 8.0, 0.0)
    full = known(clip, "full")[0]["ends"]  # where all frames came to be read, the row is that of the full budget
    assert {**ends.to_dict(), "budget": "full"} == full.to_dict()


def test_a_budget_with_what_it_does_not_read_is_refused() -> None:
    with pytest.raises(ValueError, match="budget k=2 reads no orders, segments or certificates"):
        ScorePairs(budget="k=2", shuffles=0, segments=False)
    with pytest.raises(ValueError, match="budget 'k=0'"):
        ScorePairs(budget="k=0")


def test_vllm_is_asked_for_the_frames_of_the_budget_only(
    clip: PairClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ScorePairs(engine="vllm", budget="k=3", shuffles=0, segments=False, certificate=False)
    engine = Known()
    folder = checkpoint("llava_onevision", tmp_path)
    monkeypatch.setattr(vllm_load, "load_vllm_scorer", lambda *_, **__: scorer(folder, engine))
    eyes = stage.open()
    before = engine.asked  # the probes of a started engine
    (found,) = stage.process(eyes, [clip])
    stage.close(eyes)
    assert engine.asked - before == len(ANSWERS) * (2 + 3)
    assert [(row.n_read, row.tpl is None, row.verdict) for row in score_rows(found)] == [(3, False, None)] * 4


@pytest.fixture(scope="module")
def full(grounded: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, pl.DataFrame]:
    """By length of the plan: every frame alone, and nothing else."""
    found, given = {}, read_pairs(str(grounded))
    for n_frames in (8, 12):
        out = tmp_path_factory.mktemp("full") / "out"
        options = Options(frames=n_frames, shuffles=0, segments=False, certificate=False)
        score(given, out, options, runner="local", workers=1, resume=False, console=Console(quiet=True))
        found[n_frames] = pl.read_parquet(out / "scores/*.parquet")
    return found


def utr_score(data: Path, out: Path, *more: str) -> Path:
    found = CliRunner().invoke(app, ["score", "--data", str(data), "--out", str(out), "--runner", "local", *more])
    assert found.exit_code == 0, found.output
    assert "5 rows in = 4 scored + 0 skipped + 1 failed" in found.output
    assert "of 4 texts are about films" in found.output
    return out


@pytest.fixture(scope="module")
def three(grounded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return utr_score(grounded, tmp_path_factory.mktemp("three") / "out", "--budget", "k=3")


@pytest.mark.parametrize(("budget", "n_frames"), [("k=3", 8), ("coarse", 8), ("early", 12)])
def test_a_budget_from_end_to_end(
    grounded: Path, three: Path, full: dict[int, pl.DataFrame], tmp_path: Path, budget: str, n_frames: int
) -> None:
    more = ("--budget", budget, "--frames", str(n_frames))
    out = three if budget == "k=3" else utr_score(grounded, tmp_path / "out", *more)
    for path in (out / "scores").glob("*.parquet"):
        assert pq.read_schema(path).equals(PairScore.schema(), check_metadata=False)
    tokens = pl.read_parquet(out / "tokens/*.parquet")
    rows = list(pl.read_parquet(out / "scores/*.parquet").iter_rows(named=True))
    assert [row["pair_id"] for row in rows] == full[n_frames]["pair_id"].to_list()
    for row, exact in zip(rows, full[n_frames].iter_rows(named=True), strict=True):
        near = exact["n_tokens"] * 2 * exact["floor"]
        read = [t for t, value in enumerate(row["curve"]) if value is not None]
        mine = tokens.filter(pl.col("pair_id") == row["pair_id"])
        assert mine["context"].to_list() == ["video", "text", *["frame"] * len(read)]
        assert mine["frame"].to_list() == [None, None, *read]
        assert (row["budget"], row["n_read"], row["n_frames"]) == (budget, len(read), n_frames)
        assert [row["curve"][t] for t in read] == pytest.approx([exact["curve"][t] for t in read], abs=near)
        assert row["text_gain"] == pytest.approx(exact["text_gain"], abs=near)
        assert row["verdict"] in (None, exact["verdict"])
        assert row["tpl"] is None or row["tpl"] == pytest.approx(np.mean([row["curve"][t] for t in read]))
        assert not read or row["tpl_key_most"] == row["curve"][row["best_read"]] >= exact["tpl_key"] - near
        if len(read) < n_frames:
            assert {name: row[name] for name in ONLY_FULL} == dict.fromkeys(ONLY_FULL)
        else:
            assert row["tpl_key"] == pytest.approx(exact["tpl_key"], abs=near)
    n_read = [row["n_read"] for row in rows]
    fewer = {"k=3": set(n_read) == {3}, "coarse": max(n_read) < 8, "early": min(n_read) < 4 < max(n_read)}
    assert fewer[budget]


def test_report_and_table_say_what_was_not_read(grounded: Path, three: Path, tmp_path: Path) -> None:
    for out, drawn in ((three, True), (utr_score(grounded, tmp_path / "out", "--budget", "coarse"), False)):
        page, card = (out / "report.html").read_text(), (out / "README.md").read_text()
        assert page.count("<article") == 4
        assert "Of 4 texts not every frame was read alone" in page
        assert ("as the figures of TPL are" in page) != drawn
        assert ("plots/tpl_by_subset.png" in card) == (out / "plots/tpl_by_subset.png").exists() == drawn
        assert "TPL key at most, nats" in card
        (line,) = pl.read_csv(out / "subsets.csv").iter_rows(named=True)
        assert line["tpl_key"] is None
        assert (line["tpl_per_token"] is not None, line["tpl_key_most"] is not None) == (drawn, True)


def test_another_budget_in_the_same_folder_is_refused(grounded: Path, three: Path) -> None:
    before = shards(three)
    command = ["score", "--data", str(grounded), "--out", str(three), "--runner", "local", "--budget", "k=2"]
    found = CliRunner().invoke(app, command)
    assert (found.exit_code, "ScorePairs.budget: 'k=3' -> 'k=2'" in found.output) == (2, True), found.output
    assert shards(three) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--budget", "k=0"], """budget 'k=0': give "full", "coarse", "early", or "k=4\""""),
        (["--budget", "k=3", "--shuffles", "4"], "leave out shuffles, segments and certificate, or the budget"),
        (["--budget", "early", "--certificate"], "budget early reads no orders, segments or certificates"),
    ],
)
def test_a_wrong_budget_is_refused(llava: Path, tmp_path: Path, arguments: list[str], says: str) -> None:
    command = ["score", "--data", str(llava), "--out", str(tmp_path / "out"), "--runner", "local", *arguments]
    found = CliRunner().invoke(app, command)
    assert (found.exit_code, says in found.output) == (2, True), found.output
    assert not (tmp_path / "out").exists()


def test_records_are_selected_by_what_was_measured(three: Path, tmp_path: Path) -> None:
    command = ["select", str(three), "--top-tpl", "100%", "--to", str(tmp_path / "to"), "--keep-ungrounded"]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2
    assert "3 of 3 records have no tpl_key" in refused.output
    assert "Rank by tpl or tpl_key_most (--rank), or score into another folder with --budget full" in refused.output
    assert not (tmp_path / "to").exists()
    found = CliRunner().invoke(app, [*command, "--rank", "tpl"])
    assert found.exit_code == 0, found.output
    rows = pl.read_parquet(three / "scores/*.parquet")
    undecided = sum(None in v for v in rows.group_by("record").agg("verdict")["verdict"].to_list())
    assert (f"{undecided} records have no verdict: the frames that were read" in found.output) == (undecided > 0)
    (path,) = (tmp_path / "to/top/data").glob("*.parquet")
    samples = PublishedSample.from_arrow(pq.read_table(path))
    sums = dict(rows.group_by("sample_id").agg(pl.sum("tpl")).iter_rows())
    assert {s.sample_id: s.tpl for s in samples} == pytest.approx(sums)
    assert {s.tpl_key for s in samples} == {None}
