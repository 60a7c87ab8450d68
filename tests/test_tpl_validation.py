"""The validation's figures: right on a scorer that is right by construction, and falsifiable on the embedded one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from benchmarks.validation_rows import BOXES, SEED, Certified, Row, rows
from benchmarks.validation_stats import Figure, auc, interval, matched, spearman
from benchmarks.validation_tables import (
    ALL,
    COLUMNS,
    METRICS,
    TARGETS,
    WORDS,
    cascade,
    certificates,
    kinds,
    needs_time,
    order_dependence,
    passed,
    passed_frames,
    sets,
    stability,
    verdicts,
)
from pipeline.held_out import Film, Text, held_out, texts
from stages.algorithms.draws import draws
from stages.algorithms.thresholds import Thresholds
from stages.algorithms.tpl import HELD, Context
from stages.models.protocols import Reading, Target
from tests.fake_scorer import FakeScorer

FILMS = 8
ONES = np.ones(4)
LIMITS = Thresholds.from_card({"text_gain": 0.1, "tpl_key": 0.1, "order_gain": 0.1})


def test_auc_counts_pairs_and_halves_ties() -> None:
    positive = np.array([True, True, False, False])
    assert auc(np.array([3.0, 4.0, 1.0, 2.0]), positive, ONES) == 1.0
    assert auc(np.array([1.0, 4.0, 2.0, 3.0]), positive, ONES) == 0.5
    assert auc(np.array([2.0, 3.0, 2.0, 1.0]), positive, ONES) == 0.875
    assert auc(np.array([2.0, 3.0, 2.0, 1.0]), positive, np.array([3.0, 1.0, 1.0, 0.0])) == 0.625
    assert np.isnan(auc(np.array([1.0, 2.0]), np.array([True, True]), np.ones(2)))


def test_matched_weights_take_the_length_out() -> None:
    n_tokens = np.array([5, 5, 5, 9, 9, 30])
    positive = np.array([True, False, False, True, False, True])
    weights = matched(n_tokens, positive, np.ones(6))
    assert weights.tolist() == [1.0, 0.5, 0.5, 1.0, 1.0, 0.0]
    assert auc(n_tokens.astype(float), positive, weights) == 0.5


def test_intervals_draw_films_and_not_texts() -> None:
    values = np.array([0.0] * 50 + [1.0] * 50)
    two_films = interval(lambda w: float(np.average(values, weights=w)), [0] * 50 + [1] * 50)
    many = interval(lambda w: float(np.average(values, weights=w)), range(100))
    assert (two_films.value, two_films.low, two_films.high) == (0.5, 0.0, 1.0)
    assert 0.38 < many.low < many.high < 0.62


def test_rank_correlation() -> None:
    a = np.arange(9.0)
    assert spearman(a, a**3) == pytest.approx(1.0)
    assert spearman(a, -a) == pytest.approx(-1.0)


def test_the_cascade_ranks_by_tokens_only_what_one_frame_does_not_give_away() -> None:
    assert cascade(0.1, 0.2) < cascade(0.1, 0.3)
    assert cascade(-1.0, 99.0) < cascade(0.1, -99.0)
    assert cascade(-2.0, 99.0) < cascade(-1.0, 0.0)


def _found(frames: set[int], *fewest: set[int]) -> Certified:
    return Certified(frozenset(frames), 8, True, tuple(frozenset(s) for s in fewest), (frozenset({0}), frozenset({7})))


def test_recall_is_that_of_the_smallest_set_that_a_certificate_has_most_of() -> None:
    found = _found({0, 1, 5}, {2, 3}, {0, 6}, {1, 5})
    assert (found.recall, found.least, found.surplus) == (1.0, 2, 1)
    assert _found({0, 3}, {2, 3}, {0, 6}).recall == 0.5
    assert (_found(set(), {2, 3}).recall, _found({4}, {2, 3}).recall) == (0.0, 0.0)
    assert _found({0, 3}, {2, 3}).recall_of_pictures == 0.5


def test_chance_is_the_recall_of_random_frames() -> None:
    assert _found({0}, {3}).chance == pytest.approx(1 / 8)
    assert _found({0, 1}, {2, 3}).chance == pytest.approx(2 / 8)  # each needed frame is among two of eight
    assert _found({0, 1}, {2, 3}, {4, 5}).chance == pytest.approx((2 + 0.5 * 20) / 28)
    assert _found(set(range(8)), {2, 3}).chance == 1.0


@cache
def _film(number: int) -> tuple[Film, tuple[Text, ...]]:
    film = held_out(SEED, number, 8)
    return film, tuple(texts(film, draws(0, film.film_id)))


@dataclass
class Oracle(FakeScorer):
    """Reads the truth: nats fall with what is seen of pictures and of held films, and rise in an order that is untrue.

    `late`: takes each frame of a held film for the one that is so many earlier, which is a wrong truth.
    """

    thresholds: Thresholds | None = LIMITS
    late: int = 0

    def watch(self, frames_THWC: np.ndarray, times: Sequence[str]) -> "OracleWatched":  # type: ignore[override]
        return OracleWatched(frames_THWC, self.late)


@dataclass
class OracleWatched:
    frames_THWC: np.ndarray
    late: int

    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        return [self._reading(target, contexts) for target in targets]

    def _reading(self, target: Target, contexts: Sequence[Context]) -> Reading:
        film_id, kind = target.target_id.split("/")
        film, said = _film(int(film_id.rpartition("-")[2]))
        (text,) = [t for t in said if t.kind == kind]
        n = len(target.answer.split())
        right = np.array_equal(film.frames_THWC, self.frames_THWC)
        nats = [self._nats(film, text, c) if right else 5.0 + len(c.index) for c in contexts]
        return Reading((1,) * n, tuple(np.array([-v, *[0.0] * (n - 1)], np.float32) for v in nats))

    def _nats(self, film: Film, text: Text, c: Context) -> float:
        hit = sum(bool(group & set(c.index)) for group in text.needs) / len(text.needs)
        if c.kind == HELD and text.tells:
            hit = _share(*(text.tells([max(k - self.late, 0) for k in of]) for of in (c.index, range(film.n_frames))))
        untrue = c.kind in ("shuffled", "reversed") and text.changes(film, c.index)
        return 10.0 - 8.0 * hit + 4.0 * untrue


def _share(told: object, whole: object) -> float:
    """How much of a nested tuple is as in the other."""
    if isinstance(told, tuple) and isinstance(whole, tuple):
        return float(np.mean([_share(*pair) for pair in zip(told, whole, strict=True)]))
    return float(told == whole)


@pytest.fixture(scope="module")
def known() -> list[Row]:
    return list(rows(Oracle(), films=24, n_frames=8))


@pytest.fixture(scope="module")
def table(known: list[Row]) -> dict[str, dict[str, Figure]]:
    return needs_time(known)


def test_a_scorer_that_knows_the_truth_is_perfect(known: list[Row], table: dict[str, dict[str, Figure]]) -> None:
    for name in ("tpl_key (best frame)", "gate tpl_key > 0, then top3"):
        assert [figure.value for figure in table[name].values()] == pytest.approx([1.0] * 6)
    assert table["baseline: text length"]["length-matched + mismatched"].value == pytest.approx(0.5)
    order = order_dependence(known, LIMITS)
    assert [f.value for name, f in order.items() if name.startswith(("AUC", "share"))] == pytest.approx([1.0] * 6)


def test_certificates_of_the_truth_are_the_needed_frames(known: list[Row]) -> None:
    found = certificates(known)
    assert set(found) == {"ends, caption", "appearances, caption", "appearances, timeline"}
    for figures in found.values():
        assert figures["recall with at most one frame too many"].value == 1.0
        assert figures["enough by itself"].value == 1.0
        assert figures["recall of as many random frames"].value < 0.8
    assert [line.rpartition(": ")[2] for line in passed_frames(found)] == ["reached"] * 3


def test_certificates_of_a_wrong_truth_are_not() -> None:
    found = certificates(list(rows(Oracle(late=2), films=24, n_frames=8)))
    missed = [line for line in passed_frames(found) if line.endswith("missed")]
    assert missed[-1].startswith("appearances, timeline")
    assert found["appearances, timeline"]["enough by itself"].value < 0.5


def test_all_frames_are_no_certificate(known: list[Row]) -> None:
    every = [replace(r, certified=replace(r.certified, frames=frozenset(range(8)))) for r in known if r.certified]
    for figures in certificates(every).values():
        assert figures["recall of needed frames"].value == figures["recall of as many random frames"].value == 1.0
        assert figures["recall with at most one frame too many"].value == 0.0


def test_plans_whose_sets_of_frames_cannot_be_tried_are_refused() -> None:
    with pytest.raises(ValueError, match="32 frames have too many sets"):
        list(rows(FakeScorer(thresholds=LIMITS, n_frames=32), films=8, n_frames=32))


def test_captions_and_timelines_stand_beside_all_texts(known: list[Row], table: dict[str, dict[str, Figure]]) -> None:
    chosen = sets(known)
    assert chosen[ALL] == known
    assert {r.kind for r in chosen[ALL]} - {r.kind for r in chosen[WORDS]} == set(BOXES)
    assert [line.rpartition(": ")[2] for line in passed(table)] == ["reached"] * 2 * len(TARGETS)
    assert set(TARGETS) <= set(COLUMNS)


def test_kinds_say_what_the_video_explains(known: list[Row]) -> None:
    found = kinds(known)
    assert found["static, one picture gives it"]["explained"].value == pytest.approx(0.8)  # 10 nats, then 2
    assert found["of another film"]["explained"].value < 0
    assert all(figures["AUC"].value == 1.0 for figures in found.values())


def test_verdicts_of_the_truth(known: list[Row]) -> None:
    found = verdicts(known)
    assert set(found["of another film"]) == {"ungrounded"}
    assert set(found["shown"]) <= {"one-frame"}
    assert set(found["track"]) <= {"order-dependent", "temporal"}


def test_a_scorer_agrees_with_itself_and_with_none_that_says_the_contrary(known: list[Row]) -> None:
    found = stability(known, known)
    assert [found[name]["tpl_key"].value for name in (WORDS, ALL)] == pytest.approx([1.0, 1.0])
    against = [replace(r, score=replace(r.score, tpl_key=-r.score.tpl_key)) for r in known]
    assert stability(known, against)[WORDS]["tpl_key"].value == pytest.approx(-1.0)


def test_the_embedded_scorer_tells_needs_time_from_length_and_wrong_texts() -> None:
    from stages.models.load import load_scorer

    found = list(rows(load_scorer("embedded"), films=FILMS, n_frames=8))
    table = needs_time(found)
    # Eight films: wide of the full table, and far from the baselines, which wrong texts of the same lengths kill.
    assert table["tpl_key (best frame)"]["length-matched + mismatched"].value > 0.75
    assert abs(table["baseline: text length"]["length-matched + mismatched"].value - 0.5) < 0.05
    assert table["baseline: NLL, video"]["length-matched + mismatched"].value < 0.5
    assert np.mean([r.score.verdict == "ungrounded" for r in found if not r.true]) > 0.7
    assert set(table) == set(METRICS)
    assert table["baseline: text length"]["length-matched"].n < table["baseline: text length"]["all visible"].n
