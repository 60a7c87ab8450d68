"""`utr ask` on films whose truth is known: what is said, which frames are shown, and what is refused."""

import json
import re
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from jobs.ask import look_at
from jobs.cli import app
from pipeline.shapes.lessons import FILM_SIDE_PX, FPS, TICKS_A_SECOND, WHICH, Conversation, Lesson, lesson
from stages.media.film import write_film
from stages.models.answer import answer
from stages.models.checkpoint import EMBEDDED
from stages.models.load import load_scorer
from tests.models.tiny import checkpoint

FILMS = 12
SEED = 77_001  # neither trained on nor used for the card
ASKED = ("static", "where", "direction")  # which subjects, where is one, which way does it move
LEAST = {"static": 0.85, "where": 0.75, "direction": 0.6}  # of the answers


def film(number: int, folder: Path) -> tuple[Lesson, Path]:
    """A generated film on disk, and the conversations about the frames that `utr ask` shows of it."""
    told = lesson(np.random.default_rng([SEED, number]), side_px=96, n_frames=8, film=False)
    path = folder / f"film{number}.mp4"
    pictures = [told.world.render(k / FPS, FILM_SIDE_PX) for k in range(length(told))]
    write_film(path, pictures, fps=Fraction(FPS), crf=20)
    return told, path


def length(told: Lesson) -> int:
    """Frames of its film."""
    return len(range(0, int(told.world.duration_s * TICKS_A_SECOND), TICKS_A_SECOND // FPS))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Lesson, Path]]:
    folder = tmp_path_factory.mktemp("films")
    return [film(k, folder) for k in range(FILMS)]


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["ask", *(str(a) for a in arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def right(said: str, talk: Conversation) -> bool:
    if talk.kind == "direction":  # the word: the embedded model does not know which letter stands before it
        return said.split(") ")[-1] == talk.answer.split(") ")[-1]
    if talk.kind == "where":
        return said.split(",")[0] == talk.answer.split(",")[0]  # the place; boxes are not asked to be exact
    return said == talk.answer


def test_the_embedded_model_answers_what_is_known_of_generated_films(films: list[tuple[Lesson, Path]]) -> None:
    scorer = load_scorer("embedded")
    found: dict[str, list[bool]] = {kind: [] for kind in ASKED}
    for k, (told, path) in enumerate(films):
        look = look_at(str(path), 8, 480)
        watched = scorer.watch(look.frames_THWC, look.times)
        for kind in ASKED:
            for talk in [t for t in told.conversations if t.kind == kind][:1]:
                said = answer(watched, talk.question, max_new_tokens=64)
                found[kind].append(right(said, talk))
                if k == 0:
                    assert run(path, talk.question)[:2] == (0, f"{said}\n")
    assert all(len(found[kind]) >= FILMS // 2 for kind in ASKED)
    assert {kind: np.mean(v) for kind, v in found.items() if np.mean(v) < LEAST[kind]} == {}


def test_frames_shown_are_named_and_written(films: list[tuple[Lesson, Path]], tmp_path: Path) -> None:
    _, path = films[0]
    code, said, log = run(path, WHICH, "--frames", 4, "--frames-to", tmp_path / "seen")
    assert code == 0
    assert said.count("\n") == 1
    times = look_at(str(path), 4, 480).times
    for k, at in enumerate(times, start=1):
        assert f"frame{k}, {at}" in log
    names = sorted(p.name for p in (tmp_path / "seen").iterdir())
    assert names == [f"frame{k}_{at.replace(' ', '')}.jpg" for k, at in enumerate(times, start=1)]
    pictures = [cv2.imread(str(tmp_path / "seen" / name)) for name in names]
    assert {p.shape for p in pictures if p is not None} == {(96, 96, 3)}  # as the model saw them


def test_the_frames_are_those_that_the_scorer_was_taught_with(films: list[tuple[Lesson, Path]]) -> None:
    told, path = films[1]
    look = look_at(str(path), 8, 480)
    assert look.times == told.times
    assert look.n_film == length(told)


def test_an_answer_that_is_cut_off_is_named(films: list[tuple[Lesson, Path]]) -> None:
    _, path = films[0]
    code, said, log = run(path, WHICH, "--max-new-tokens", 2)
    assert code == 0
    assert "cut off by --max-new-tokens" in log
    whole = run(path, WHICH)
    assert whole[1].startswith(said.removesuffix("\n"))
    assert "cut off" not in whole[2]
    assert re.search(r"\d+ tokens read, \d+ written in", whole[2])


def test_films_of_another_kind_are_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (12, 64, 96, 3), dtype=np.uint8)
    write_film(tmp_path / "noise.mp4", noise, fps=Fraction(10))
    code, _, log = run(tmp_path / "noise.mp4", WHICH, "--max-new-tokens", 3)
    assert code == 0
    assert "knows other films than this one" in log


def test_another_family_is_asked_in_the_papers_prompt(films: list[tuple[Lesson, Path]], tmp_path: Path) -> None:
    model = checkpoint("qwen2_5_vl", tmp_path / "model")
    _, path = films[0]
    options = ("--model", model, "--frames", 3, "--max-pixels", 28 * 28 * 4, "--max-new-tokens", 5)
    code, frames, log = run(path, "What happens?", *options)
    assert code == 0
    assert "model@" in log
    code, paper, _ = run(path, "What happens?", *options, "--prompt", "paper")
    assert code == 0
    assert paper != frames


def test_films_by_url(films: list[tuple[Lesson, Path]]) -> None:
    _, path = films[0]
    assert run(f"file://{path}", WHICH)[1] == run(path, WHICH)[1]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("no-such.mp4", WHICH), "no-such.mp4"),
        (("text.mp4", WHICH), "text.mp4"),
        (("empty.mp4", WHICH), "empty.mp4"),
        (("film.mp4", "  "), "the question is empty"),
        (("film.mp4", "What is <video>?"), "holds '<video>'"),
        (("film.mp4", WHICH, "--prompt", "none"), "frames, paper"),
        (("film.mp4", WHICH, "--dtype", "int4"), "dtype 'int4'"),
        (("film.mp4", WHICH, "--model", "nothing-here"), "no such folder"),
        (("film.mp4", WHICH, "--max-pixels", "4096"), "leave max_pixels out"),
        (("film.mp4", WHICH, "--device", "cuda:77"), "cuda"),
    ],
)
def test_what_cannot_be_used(
    arguments: tuple[str, ...], why: str, films: list[tuple[Lesson, Path]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mp4").write_bytes(films[0][1].read_bytes())
    (tmp_path / "text.mp4").write_text("no film at all\n" * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    code, said, log = run(*arguments)
    assert code == 2
    assert said == ""
    assert why in log


def test_a_prompt_that_is_too_long(films: list[tuple[Lesson, Path]], tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.mkdir()
    for file in EMBEDDED.iterdir():
        (short / file.name).write_bytes(file.read_bytes())
    config = json.loads((short / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 128
    (short / "config.json").write_text(json.dumps(config))
    code, _, log = run(films[0][1], WHICH, "--model", short)
    assert code == 2
    assert "no room for an answer in 128" in log
    assert "fewer --frames" in log
    assert run(films[0][1], WHICH, "--model", short, "--frames", 1)[0] == 0


def test_a_film_of_one_frame(tmp_path: Path) -> None:
    write_film(tmp_path / "one.mp4", [np.full((64, 64, 3), 90, np.uint8)], fps=Fraction(25))
    code, _, log = run(tmp_path / "one.mp4", WHICH, "--max-new-tokens", 3)
    assert code == 0
    assert "1 of 1 frames: frame1, 0.00 s" in log
