"""The hacking experiment: arms are equal but for their texts, and its measures are right where the answer is known."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.validation_rows import SEED as VALIDATION_SEED
from jobs.experiment_hacking import main
from pipeline.calibrate import SEED as CALIBRATION_SEED
from pipeline.held_out import Film
from pipeline.shapes.embedded_scorer import Course
from pipeline.shapes.examine import HELD_OUT_SEED as EXAMINATION_SEED
from pipeline.shapes.hacking import ARMS, BASE, SETTINGS, Place
from pipeline.shapes.hacking_base import renew_last_layer
from pipeline.shapes.hacking_choices import TEMPORAL, choices
from pipeline.shapes.hacking_figures import Table, claims, figure
from pipeline.shapes.hacking_films import HELD_OUT_SEED, TAUGHT_SEED, _lesson, held_out_films, select
from pipeline.shapes.hacking_measures import ALL, CHOSEN_FROM, NONE, SHOWN, TAMPERED, TOLD, Sums, examined, shown
from pipeline.shapes.hacking_schedule import counted, schedule
from pipeline.shapes.hacking_texts import one_frame, pool
from pipeline.shapes.hacking_train import shown_of
from stages.algorithms.draws import draws
from stages.algorithms.thresholds import Thresholds
from stages.algorithms.tpl import Context
from stages.models.checkpoint import EMBEDDED
from stages.models.onevision import OneVision
from stages.models.protocols import Reading, Target
from tests.fake_scorer import FakeScorer

LIMITS = Thresholds.from_card({"text_gain": 0.1, "tpl_key": 0.1})


@cache
def films() -> tuple[Film, ...]:
    return tuple(held_out_films(6))


# Arms are equal


def _lengths(seed: int, low: int, high: int, texts: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [[int(n) for n in rng.integers(low, high, size=texts)] for _ in range(40)]


def test_arms_read_equal_tokens_of_equal_films_in_equal_steps() -> None:
    short, long = _lengths(0, 3, 25, 12), _lengths(1, 20, 130, 8)
    found = [schedule(t, steps=20, films_a_step=8, tokens_a_step=400, seed=5) for t in (short, long)]
    for tokens, steps in zip((short, long), found, strict=True):
        assert len(steps) == 20
        assert 0 <= counted(steps, tokens) - 8_000 < max(map(max, tokens))
        assert all(len(step) <= 8 and len({f for f, _ in step}) == len(step) for step in steps)
    for of_short, of_long in zip(*found, strict=True):  # where texts are long, a film may have none at a step
        assert {f for f, _ in of_long} <= {f for f, _ in of_short}


def test_a_text_comes_again_when_its_film_has_no_other_left() -> None:
    tokens = [[10] * 6 for _ in range(4)]
    steps = schedule(tokens, steps=3, films_a_step=4, tokens_a_step=80, seed=0)  # two texts a film and step
    for k in range(4):
        assert sorted(i for step in steps for f, texts in step if f == k for i in texts) == list(range(6))


def test_films_with_too_few_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="40 target tokens for 1 steps, 41 are due"):
        schedule([[10]] * 4, steps=1, films_a_step=4, tokens_a_step=41, seed=0)


def test_replayed_films_are_shown_as_in_the_course() -> None:
    many = [len(shown_of(8, 0, f"{k}")) for k in range(4000)]
    course = Course()
    assert np.mean([n == 1 for n in many]) == pytest.approx(course.one_frame_share, abs=0.02)
    assert np.mean([n == 0 for n in many]) == pytest.approx(course.no_frame_share, abs=0.01)


def test_the_base_is_the_scorer_but_for_a_new_last_layer() -> None:
    scorer = OneVision.load(str(EMBEDDED))
    before = {key: weight.clone() for key, weight in scorer.model.named_parameters()}
    renew_last_layer(scorer, seed=0)
    changed = {k for k, w in scorer.model.named_parameters() if not torch.equal(w, before[k])}
    assert len(changed) > 8
    assert all(".language_model.layers.3." in key for key in changed)
    assert len(scorer.model.model.language_model.layers) == 4


# Films and texts


def test_held_out_films_are_nobodys() -> None:
    seeds = [TAUGHT_SEED, HELD_OUT_SEED, EXAMINATION_SEED, CALIBRATION_SEED, VALIDATION_SEED, Course().seed]
    assert len(set(seeds)) == len(seeds)
    taught = [_lesson(seed, i, 96).world for seed in range(2) for i in range(4)]
    assert len({*taught, *(f.world for f in films())}) == len(taught) + len(films())


def test_held_out_films_have_two_subjects_and_a_turn() -> None:
    for film in films():
        assert len(film.scene.tracks) == 2
        assert any(len({leg.word for leg in s.legs} - {"still"}) == 2 for s in film.world.shapes)


def test_texts_of_one_frame_are_those_of_the_film_that_stands_still_at_it() -> None:
    for film in films():
        said = one_frame(film.scene, np.random.default_rng(0))
        still = one_frame(film.in_order([0] * film.n_frames), np.random.default_rng(0))
        assert [c.kind for c in said] == ["static", "presence", "presence", "count", "picture", "boxes"]
        assert {c.answer for c in said} == {c.answer for c in still}  # all are seen in the first frame of these films


@dataclass
class Judge(FakeScorer):
    """Needs all frames for questions that name time, and any frame for the others."""

    thresholds: Thresholds | None = LIMITS

    def watch(self, frames_THWC: np.ndarray, times: Sequence[str]) -> "JudgeWatched":  # type: ignore[override]
        return JudgeWatched()


class JudgeWatched:
    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        return [self._reading(t, contexts) for t in targets]

    def _reading(self, target: Target, contexts: Sequence[Context]) -> Reading:
        n = len(target.answer.split())
        timely = target.question.startswith(("When", "Which way", "What happens", "Where is each"))
        nats = [9.0 - (4.0 if not timely or len(c.index) > 1 else 1.0) * bool(c.index) for c in contexts]
        return Reading((1,) * n, tuple(np.array([-v, *[0.0] * (n - 1)], np.float32) for v in nats))


def test_halves_of_the_pool_differ_in_tpl_and_not_in_length() -> None:
    lessons = [_lesson(0, i, 96) for i in range(6)]
    pools: list[tuple] = [(item, pool(item, one_frame(item.scene, draws(0, f"{i}")))) for i, item in enumerate(lessons)]
    chosen, account = select(pools, Judge(), seed=0)
    assert account["top"]["texts"] == account["low"]["texts"] == account["random"]["texts"]
    assert account["top"]["tpl_key_per_token"] > account["random"]["tpl_key_per_token"]
    assert account["top"]["one_frame"] < account["pool"]["one_frame"] < account["low"]["one_frame"]
    top, low = ({(f, i) for f, own in chosen[name].items() for i in own} for name in ("top", "low"))
    assert not top & low

    def bins(keys: set[tuple[int, int]]) -> list[int]:
        return sorted((len(pools[f][1][i].answer.split()) - 1).bit_length() for f, i in keys)

    assert bins(top) == bins(low)


# Measures


def test_the_truth_of_choices_is_the_worlds() -> None:
    for film in films():
        legs = {s.name: [leg.word for leg in s.legs] for s in film.world.shapes}
        asked = choices(film, np.random.default_rng(0))
        assert {*TEMPORAL, "asked", "static"} == {c.skill for c in asked}
        for choice in asked:
            truth = choice.answers[choice.truth]
            assert len(set(zip(choice.questions, choice.answers, strict=True))) == len(choice.answers) > 1
            if choice.skill == "direction":
                said = truth.lower().rpartition(" moves ")
                assert legs[said[0].rpartition("a ")[2]][0] == said[2]
            if choice.skill == "order":
                (turns,) = [w for n, w in legs.items() if truth.endswith(f"{n} moves {w[0]}, then {w[-1]},")]
                assert choice.answers[1 - choice.truth].endswith(f"moves {turns[1]}, then {turns[0]},")
            if choice.skill in ("where", "when"):
                assert _is_there(film, choice.questions[choice.truth], truth)
                wrong = choice.questions[1 - choice.truth], choice.answers[1 - choice.truth]
                assert choice.skill == "where" or not _is_there(film, *wrong)


def _is_there(film: Film, question: str, answer: str) -> bool:
    """By the box of the shape that is asked about, at the time that is asked about."""
    subject, time_s = re.findall(r"Where is the (.*) at frame\d+, ([\d.]+) s", question)[0]
    (box,) = [s.box(float(time_s)) for s in film.world.shapes if s.name == subject]
    assert box is not None
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    words = {
        w
        for w, there in zip(
            ("left", "right", "top", "bottom"), (x < 1 / 3, x >= 2 / 3, y < 1 / 3, y >= 2 / 3), strict=True
        )
        if there
    }
    return set(re.findall("left|right|top|bottom", answer)) == words


@dataclass
class Knowing(FakeScorer):
    """Knows the right answers of some films, where it is shown what it needs; else all answers are alike to it."""

    needs_order: bool = True

    def watch(self, frames_THWC: np.ndarray, times: Sequence[str]) -> "KnowingWatched":  # type: ignore[override]
        (film,) = [f for f in films() if np.array_equal(f.frames_THWC, frames_THWC)]
        asked = choices(film, draws(0, film.film_id))
        return KnowingWatched({(c.questions[c.truth], c.answers[c.truth]) for c in asked}, self.needs_order)


@dataclass
class KnowingWatched:
    truths: set[tuple[str, str]]
    needs_order: bool

    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        return [self._reading(t, contexts) for t in targets]

    def _reading(self, target: Target, contexts: Sequence[Context]) -> Reading:
        true = (target.question, target.answer) in self.truths
        known = [list(c.index) == list(range(8)) if self.needs_order else bool(c.index) for c in contexts]
        # What it does not know it takes for less likely than any other answer: chance cannot help it.
        nats = [(1.0 if true else 3.0) if k else (5.0 if true else 3.0) for k in known]
        return Reading((1, 2), tuple(np.array([-n, 0.0], np.float32) for n in nats))


def test_who_needs_all_frames_in_order_is_right_with_them_alone() -> None:
    found = examined(Knowing(), films())
    table = Table({"knowing": [found]})
    for skill in (*TEMPORAL, "asked", "static"):
        assert table.right("knowing", skill)[0] == 1.0
    for skill in TEMPORAL:
        assert [table.right("knowing", skill, how)[0] for how in CHOSEN_FROM[1:]] == [0.0] * 3
    assert table.loss("knowing", "shuffled")[0] == 1.0
    assert table.drawn("knowing", "nll/where/held")[0] - table.drawn("knowing", "nll/where/all")[0] == pytest.approx(
        2.0
    )
    assert table.tpl("knowing", "where")[0] == pytest.approx(2.0)  # 5 - 1 nats over two tokens, every single frame


def test_who_ignores_time_loses_nothing() -> None:
    table = Table({"hacked": [examined(Knowing(needs_order=False), films())]})
    assert [table.loss("hacked", how)[0] for how in ("shuffled", "held")] == [0.0, 0.0]
    assert [table.rise("hacked", how)[0] for how in TAMPERED] == [0.0] * 3
    assert table.right("hacked", "temporal")[0] == 1.0
    assert table.right("hacked", "temporal", NONE)[0] == 0.0


def test_films_are_tampered_with_by_real_frames_in_other_places() -> None:
    film = films()[0]
    seen = shown(film, np.random.default_rng(0))
    assert set(seen) == set(SHOWN)
    assert (seen[ALL].index, seen[NONE].index) == (tuple(range(8)), ())
    assert sorted(seen["shuffled"].index) == list(range(8)) != list(seen["shuffled"].index)
    assert len(seen["held"].index) == 8 * len(set(seen["held"].index))
    assert seen["neighbour"].index == (0, 0, 2, 2, 4, 4, 6, 6)
    assert all(seen[how].names == tuple(range(1, 9)) for how in TAMPERED)  # no header tells


# Figures


def _sums(right: Sequence[float], tpl: float = 1.0, rise: float = 0.5) -> Sums:
    """Films with these shares of right choices."""
    found: Sums = {
        f"right/{s}/{how}": [(r, 1.0) for r in right] for s in (*TEMPORAL, "asked", "static") for how in SHOWN
    }
    for kind in (*TOLD, "static"):
        found[f"tpl/{kind}"] = [(tpl, 1.0)] * len(right)
        found |= {f"nll/{kind}/{how}": [(1.0 + rise * (how in TAMPERED), 1.0)] * len(right) for how in SHOWN}
    return found


def test_differences_are_drawn_in_pairs() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(50)
    table = Table({"a": [_sums(list(right)), _sums(list(right))], "b": [_sums(list(right - 0.1))]})
    alone = figure(table.right("a", "temporal"))
    assert alone.value == pytest.approx(right.mean())
    assert alone.high - alone.low == pytest.approx(4 * right.std() / 50**0.5, rel=0.15)
    apart = figure(table.right("a", "temporal") - table.right("b", "temporal"))
    assert (apart.value, apart.low, apart.high) == pytest.approx((0.1, 0.1, 0.1))


def test_seeds_that_differ_widen_the_interval() -> None:
    same = Table({"a": [_sums([0.5] * 40)] * 3})
    apart = Table({"a": [_sums([v] * 40) for v in (0.2, 0.5, 0.8)]})
    assert figure(same.right("a", "order")).low == pytest.approx(0.5)
    found = figure(apart.right("a", "order"))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.2, 0.8))


def test_claims_follow_the_sign_of_a_difference() -> None:
    levels = {BASE: 0.8, "course": 0.82, "one_frame": 0.6, "one_frame_2x": 0.5, "utr": 0.9, "tpl_top": 0.7}
    levels |= {"tpl_random": 0.7, "tpl_low": 0.75}
    table = Table({arm: [_sums([v] * 9, tpl=v)] for arm, v in levels.items()})
    outcome = [c.outcome for c in claims(table)]
    assert outcome[:8] == ["agrees"] * 5 + ["not decided", "disagrees", "disagrees"]
    assert outcome[-1] == "agrees"
    assert len(claims(table)) == 15


# The whole


def test_smoke_runs_to_a_report_and_does_nothing_twice(tmp_path: Path) -> None:
    main(setting="smoke", out=tmp_path, workers=2)
    place = Place(tmp_path / "work", "smoke")
    runs = {arm: json.loads(place.result(arm, 0).read_text()) for arm in (BASE, *ARMS)}
    due = SETTINGS["smoke"].steps * SETTINGS["smoke"].films_a_step * SETTINGS["smoke"].tokens_a_film
    for arm, own in ARMS.items():
        assert runs[arm]["steps"] == len(runs[arm]["loss"]) == own.longer * SETTINGS["smoke"].steps
        assert 0 <= runs[arm]["tokens"] - own.longer * due < 300  # a track of two subjects
        assert runs[arm]["replayed_tokens"] > 0
    equal = [runs[arm]["replayed_tokens"] for arm, own in ARMS.items() if own.longer == 1]
    assert len(set(equal)) == 1
    assert runs["utr"]["sums"] != runs[BASE]["sums"]
    report = (tmp_path / "hacking.md").read_text()
    assert all(f"| {arm} |" in report for arm in runs)
    assert (tmp_path / "hacking.png").stat().st_size > 10_000
    assert len(json.loads((tmp_path / "hacking.json").read_text())["claims"]) == 15
    before = {path: path.stat().st_mtime_ns for path in place.out.iterdir()}
    main(setting="smoke", out=tmp_path, workers=1)
    assert before == {path: path.stat().st_mtime_ns for path in place.out.iterdir()}
    assert (tmp_path / "hacking.md").read_text() == report
