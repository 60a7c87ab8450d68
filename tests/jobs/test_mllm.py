"""A build that asks a served model beside one that does not: its words are measured and published, and no more."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from jobs.cli import run_build
from pipeline.publish import read_manifest
from pipeline.verify import verify
from stages.prompting import prompt_hash
from tests.fake_mllm import KEY, MODEL, FakeMllm, refuse, say, serving, tell, told


@pytest.mark.timeout(300)
def test_a_wrong_key_ends_the_build_and_with_the_right_one_the_words_change_no_question(
    corpus: Path, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command goes on, though the address is another one by now."""
    (tmp_path / "films").mkdir()
    shutil.copy(corpus.parent / "more.mp4", tmp_path / "films")
    monkeypatch.setenv("FAKE_KEY", KEY)
    with serving(FakeMllm(refuse(401))) as fake:
        assert _build(tmp_path, fake.url) == 6
    assert "says 401" in (said := capsys.readouterr().err)
    assert "set the variable that mllm.key_env names to a valid key" in said
    with serving(FakeMllm(tell())) as fake:
        assert _build(tmp_path, fake.url) == 0
    out = tmp_path / "out"
    words = ["sample_id", "messages", "program", "evidence", "reward", "risk", "describer"]
    plain, told = _table(built, "data").filter(pl.col("uri") == "more.mp4"), _table(out, "data")
    assert plain.select(words).equals(told.select(words))
    assert len(told) > 5
    clips = _table(out, "clips")
    assert len(clips) == len(fake.requests) > 0
    for captions, scores in clips.select("captions", "caption_scores").iter_rows():
        assert (captions[-1]["kind"], captions[-1]["text"][:5]) == ("given", "Clip ")
        assert captions[-1]["describer"] == f"mllm/{MODEL}@{prompt_hash('clip')}"
        assert scores[-1]["target_id"].endswith("/caption/given")
        assert len(scores[-1]["curve"]) == 8
    assert verify(out).problems == ()
    assert not any(KEY.encode() in path.read_bytes() for path in out.rglob("*") if path.is_file())


@pytest.mark.timeout(300)
def test_on_ray_every_token_is_counted_once(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cut answer is asked for once more, and paid for twice: both are in the manifest, the report and the table."""
    (tmp_path / "films").mkdir()
    shutil.copy(corpus.parent / "more.mp4", tmp_path / "films")
    monkeypatch.setenv("FAKE_KEY", KEY)
    with serving(FakeMllm(tell(), script={'"clip"': [say("{", finish="length")]})) as fake:
        assert _build(tmp_path, fake.url, "ray") == 0
    out = tmp_path / "out"
    clips = _table(out, "clips")
    assert len(fake.requests) == len(clips) + 1
    assert {captions[-1]["describer"][:5] for captions in clips["captions"]} == {"mllm/"}
    prompt, completion = 1000 * len(fake.requests), 1 + sum(len(told(text)) for text in _prompts(fake))
    run = read_manifest(out).run
    assert run
    assert {c.what: c.n for c in run.counted} == {"prompt_tokens": prompt, "completion_tokens": completion}
    assert {c.stage for c in run.counted} == {"AskMllm"}
    for said in (capsys.readouterr().out, (out / "report.html").read_text()):
        assert f"{prompt:,} prompt tokens" in said
        assert f"{completion:,} completion tokens" in said


def _prompts(fake: FakeMllm) -> set[str]:
    """Of each clip the first question: what it is asked once more has the same start, and the same answer."""
    return {request.texts[0] for request in fake.requests}


def _build(folder: Path, url: str, runner: str = "local") -> int:
    recipe = folder / "recipe.yaml"
    recipe.write_text(f"seed: 0\nmllm: {{url: {url}, model: fake-vl, key_env: FAKE_KEY, tries: 1}}\n")
    return run_build(str(folder / "films"), folder / "out", str(recipe), resume=False, runner=runner)


def _table(out: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(out / name / "*.parquet")
