"""Thresholds from controls whose percentiles are known, and from a scorer whose gains are."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from pipeline.calibrate import LEAST, Control, TooFewControls, calibrate, controls, thresholds_of
from pipeline.held_out import held_out
from schemas.sample import ScorerCard
from stages.algorithms.thresholds import NUMERIC_FLOOR, Thresholds
from stages.algorithms.tpl import FRAME, SHUFFLED, TEXT, VIDEO, Context
from stages.models.protocols import Reading, Target
from tests.fake_scorer import FakeScorer


def _made(quantity: str, n_tokens: int, values: Iterable[float]) -> list[Control]:
    return [Control(quantity, n_tokens, float(v)) for v in values]


def _all(n_tokens: int, high: float, n: int = 101) -> list[Control]:
    """Of each quantity values from 0 to `high`, evenly: the 95th percentile is .95 of it."""
    values = np.linspace(0, high, n)
    return [c for q in ("text_gain", "tpl_key", "order_gain") for c in _made(q, n_tokens, values)]


def test_bins_have_percentiles_of_their_own_lengths() -> None:
    short, long = thresholds_of([*_all(5, 1.0), *_all(40, 10.0)], 0.0).bins
    assert (short.max_tokens, long.max_tokens) == (8, None)
    assert (short.tpl_key, short.order_gain, short.text_gain) == pytest.approx((0.95,) * 3)
    assert (long.tpl_key, long.order_gain, long.text_gain) == pytest.approx((9.5,) * 3)
    assert (short.controls, long.controls) == (101, 101)


def test_a_bin_with_too_few_controls_is_merged_with_the_next() -> None:
    short, long = thresholds_of([*_all(5, 1.0, LEAST - 1), *_all(10, 1.0), *_all(40, 10.0)], 0.0).bins
    assert (short.max_tokens, short.controls) == (12, LEAST - 1 + 101)
    assert long.max_tokens is None


def test_what_is_left_over_joins_the_last_bin() -> None:
    (only,) = thresholds_of([*_all(5, 1.0), *_made("tpl_key", 60, [100.0] * 60)], 0.0).bins
    assert only.max_tokens is None
    assert only.tpl_key == 100.0


def test_one_quantity_with_too_few_controls_is_named() -> None:
    few = [c for c in _all(5, 1.0) if c.quantity != "order_gain"]
    with pytest.raises(TooFewControls, match=r"101 of tpl_key, 0 of order_gain: use more films"):
        thresholds_of(few, 0.0)


def test_a_bound_never_falls_with_the_length() -> None:
    short, long = thresholds_of([*_all(5, 1.0), *_all(40, 0.1)], 0.0).bins
    assert (long.tpl_key, long.order_gain) == (short.tpl_key, short.order_gain)


def test_wrong_texts_alone_leave_the_floor_of_the_number_format() -> None:
    wrong = [*_all(5, 1.0)[101:], *_made("text_gain", 5, np.linspace(-9, -1, 101))]
    assert thresholds_of(wrong, 0.0).bins[0].text_gain == NUMERIC_FLOOR
    assert thresholds_of(wrong, 0.25).bins[0].text_gain == 0.25


def test_texts_that_the_question_gives_away_set_the_bound_of_every_length() -> None:
    wrong = [*_all(5, 1.0), *_all(40, 1.0)]
    wrong = [c if c.quantity != "text_gain" else Control(c.quantity, c.n_tokens, -5.0) for c in wrong]
    found = thresholds_of([*wrong, *_made("echo", 5, np.linspace(0, 2, 101))], 0.0)
    assert [b.text_gain for b in found.bins] == pytest.approx([1.9, 1.9])


@dataclass
class Known:
    """A frame gives all but `noise` nats of any text, an order costs `order`, the video gains `gain` on any text."""

    gain: float = 3.0
    noise: float = 0.4
    order: float = 0.7
    thresholds: Thresholds | None = None
    n_frames: int | None = 8
    taught: tuple[str, ...] | None = None
    floor: float = 1e-5
    asked: list[Target] = field(default_factory=list)

    def card(self, frames_THWC: np.ndarray) -> ScorerCard:
        return FakeScorer(thresholds=None).card(frames_THWC)

    def watch(self, frames_THWC: np.ndarray, times: Sequence[str]) -> "Known":
        return self

    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        self.asked += targets
        worse = {VIDEO: 0.0, FRAME: self.noise, TEXT: self.gain, SHUFFLED: self.order}
        return [
            Reading((1,) * len(t.answer.split()), tuple(self._logprob(t, worse.get(c.kind, 0.0)) for c in contexts))
            for t in targets
        ]

    def _logprob(self, target: Target, nats: float) -> np.ndarray:
        return np.array([-1.0 - nats, *[-1.0] * (len(target.answer.split()) - 1)], np.float32)


def test_a_scorer_gets_the_bounds_that_its_controls_show() -> None:
    seen: list[int] = []
    found = calibrate(Known(), n_frames=8, films=12, least=5, done=seen.append)
    assert seen == list(range(1, 13))
    for b in found.thresholds.bins:
        assert (b.tpl_key, b.order_gain, b.text_gain) == pytest.approx((0.4, 0.7, 3.0), abs=1e-4)
    card = json.loads(json.dumps(found.into({"id": "known", "skill": {"colour": 1.0}, "thresholds": {"tpl_key": 9.0}})))
    assert (card["id"], card["skill"], card["n_frames"]) == ("known", {"colour": 1.0}, 8)
    assert (card["dtype"], card["thresholds"]["orders"]) == ("float32", 4)
    assert Thresholds.from_card(card["thresholds"]) == found.thresholds


def test_controls_are_never_texts_that_need_time_but_where_any_order_is_true() -> None:
    film, other = held_out(5, 0, 8), held_out(5, 1, 8)
    found = list(controls(Known(), film, other))
    assert {c.quantity for c in found} <= {"tpl_key", "order_gain", "text_gain", "echo"}
    assert all(c.nats == pytest.approx(0.4, abs=1e-5) for c in found if c.quantity == "tpl_key")
    assert all(c.nats == pytest.approx(0.7, abs=1e-5) for c in found if c.quantity == "order_gain")


def test_a_text_that_was_not_taken_from_the_question_is_no_such_control() -> None:
    film, other = held_out(5, 0, 8), held_out(5, 1, 8)
    assert not film.names() & other.names()
    assert "echo" not in {c.quantity for c in controls(Known(), film, other)}
