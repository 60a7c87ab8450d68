"""The calibrate command: what it refuses, and what it keeps of a card."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from jobs.calibrate import NotACard, _base, calibrate
from stages.models.checkpoint import EMBEDDED

APP = typer.Typer()
APP.command()(calibrate)


def _run(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(APP, [str(w) for w in words])
    return done.exit_code, " ".join((done.output + done.stderr).split())


def test_too_few_films_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    out = tmp_path / "card.json"
    code, said = _run("--scorer", "embedded", "--out", out, "--films", "2")
    assert code == 2
    assert "50 controls of each quantity are needed" in said
    assert "use more films" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "why"), [("no json", "is no JSON"), ("[]", "is no card"), ('{"a": 1}', "it has no id")]
)
def test_a_file_that_is_no_card_is_not_replaced(tmp_path: Path, content: str, why: str) -> None:
    out = tmp_path / "card.json"
    out.write_text(content)
    code, said = _run("--scorer", "embedded", "--out", out)
    assert code == 2
    assert why in said
    assert out.read_text() == content


def test_a_scorer_that_is_not_there_is_named(tmp_path: Path) -> None:
    code, said = _run("--scorer", tmp_path / "none", "--out", tmp_path / "card.json")
    assert code == 2
    assert "no such folder" in said


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotACard, match="there is no folder"):
        _base("embedded", tmp_path / "none" / "card.json")


def test_a_card_keeps_its_skill(tmp_path: Path) -> None:
    own = json.loads((EMBEDDED / "scorer.json").read_text())
    assert _base("embedded", tmp_path / "new.json") == own
    (tmp_path / "old.json").write_text(json.dumps({"id": "mine", "skill": {"colour": 0.5}}))
    assert _base("embedded", tmp_path / "old.json") == {"id": "mine", "skill": {"colour": 0.5}}
