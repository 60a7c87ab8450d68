"""TPL's quantities on log-probabilities made by hand."""

from math import exp, log

import numpy as np
import pytest

from stages.algorithms.tpl import (
    FRAME,
    HELD,
    REVERSED,
    SHUFFLED,
    TEXT,
    VIDEO,
    WITHOUT,
    Context,
    Thresholds,
    contexts,
    effective_frames,
    held,
    segments,
    target_score,
)

THRESHOLDS = Thresholds.from_card({"text_gain": 0.5, "tpl_key": 0.5})


def _read(video: float, text: float, frames: list[float], **order: float) -> dict[Context, np.ndarray]:
    """Two tokens a context, which share its negative log-likelihood."""
    nll = {Context(VIDEO, None, (0, 1)): video, Context(TEXT, None, ()): text}
    nll |= {Context(FRAME, t, (t,)): value for t, value in enumerate(frames)}
    nll |= {Context(SHUFFLED, 0, (1, 0)): order["shuffled"]} if "shuffled" in order else {}
    nll |= {Context(REVERSED, None, (1, 0)): order["reversed"]} if "reversed" in order else {}
    return {c: np.array([-v / 2, -v / 2], np.float32) for c, v in nll.items()}


def _score(read: dict[Context, np.ndarray]):
    return target_score("t", (3, 4), read, THRESHOLDS)


def test_definitions_of_the_design() -> None:
    s = _score(_read(2.0, 10.0, [5.0, 7.0], shuffled=3.0, reversed=6.0))
    assert s.curve == (3.0, 5.0)
    assert (s.tpl, s.tpl_key, s.text_gain, s.static_gain) == (4.0, 3.0, 8.0, 5.0)
    assert (s.order_gain, s.reverse_gain) == (1.0, 4.0)
    assert s.hackability == 5.0 / 8.0
    assert s.verdict == "temporal"
    assert s.tpl_random in s.curve
    assert s.best_frame == 0
    assert (s.tpl_per_token, s.tpl_key_per_token, s.text_gain_per_token) == (2.0, 1.5, 4.0)
    assert s.tpl_random_per_token == s.tpl_random / 2
    assert (s.order_gain_sd, s.segment_gain, s.effective_frames, s.certificate) == (None,) * 4


def test_top_tokens_are_gains_over_the_best_frame() -> None:
    read = {
        Context(VIDEO, None, (0, 1)): np.array([-1, -1, -1, -1, -1], np.float32),
        Context(TEXT, None, ()): np.array([-9, -9, -9, -9, -9], np.float32),
        Context(FRAME, 0, (0,)): np.array([-9, -9, -9, -9, -9], np.float32),  # the worse frame
        Context(FRAME, 1, (1,)): np.array([-1, -3, -0.5, -7, -2], np.float32),  # gains 0, 2, -.5, 6, 1
    }
    s = target_score("t", (1, 2, 3, 4, 5), read, THRESHOLDS)
    assert (s.best_frame, s.top3) == (1, 3.0)
    two = target_score("t", (1, 2), {c: v[:2] for c, v in read.items()}, THRESHOLDS)
    assert two.top3 == 1.0  # of the two that there are: 0 and 2


def test_spread_over_shuffles_is_the_sample_deviation() -> None:
    read = _read(2.0, 10.0, [5.0, 7.0], reversed=6.0)
    read |= {Context(SHUFFLED, k, (1, 0)): np.array([-v, 0.0], np.float32) for k, v in enumerate((3.0, 5.0))}
    s = _score(read)
    assert s.order_gain == 2.0
    assert s.order_gain_sd == pytest.approx(2.0**0.5)


def test_segments_and_certificate_are_read_off_their_contexts() -> None:
    read = _read(2.0, 10.0, [5.0, 7.0])
    read |= {Context(WITHOUT, k, ()): np.array([-v, 0.0], np.float32) for k, v in enumerate((6.0, 4.0))}
    read[Context(HELD, None, (0, 1))] = np.array([-2.4, 0.0], np.float32)
    s = _score(read)
    assert s.segment_gain == (4.0, 2.0)
    assert s.effective_frames == pytest.approx(exp(2 / 3 * log(3 / 2) + 1 / 3 * log(3)))
    assert s.certificate == (0, 1)
    assert s.certificate_share == pytest.approx(0.95)
    assert s.verdict == "few-frames"


@pytest.mark.parametrize(
    ("gains", "effective"),
    [
        ([3.0, 0.0, 0.0, 0.0], 1.0),
        ([3.0, -5.0, 0.0, 3.0], 2.0),
        ([0.5] * 8, 8.0),
        ([0.0, -1.0], None),
    ],
)
def test_effective_frames_of_known_gains(gains: list[float], effective: float | None) -> None:
    assert effective_frames(gains) == (None if effective is None else pytest.approx(effective))


def test_a_scorer_without_thresholds_gives_no_verdict_but_all_numbers() -> None:
    s = target_score("t", (3, 4), _read(2.0, 10.0, [5.0, 7.0]), None)
    assert (s.verdict, s.tpl, s.hackability) == (None, 4.0, 5.0 / 8.0)


@pytest.mark.parametrize(
    ("read", "hackability", "flags", "verdict"),
    [
        (_read(2.0, 10.0, [2.1, 4.0]), 7.9 / 8.0, (), "one-frame"),
        (_read(2.0, 2.2, [4.0, 4.0]), None, ("ungrounded",), "ungrounded"),
        (_read(2.0, 10.0, [11.0, 12.0]), 0.0, ("frame_misleads",), "temporal"),
        (_read(2.0, 10.0, [1.0, 4.0]), 1.0, ("frame_beats_video",), "one-frame"),
    ],
)
def test_bounds_speak_with_a_flag(read, hackability, flags, verdict) -> None:
    s = _score(read)
    assert s.hackability == pytest.approx(hackability, abs=1e-6)
    assert (s.flags, s.verdict) == (flags, verdict)


def test_a_score_that_is_not_finite_is_no_score() -> None:
    read = _read(2.0, 10.0, [5.0, 7.0])
    read[Context(FRAME, 1, (1,))] = np.array([np.nan, -1.0], np.float32)
    with pytest.raises(FloatingPointError, match="frame 1"):
        _score(read)


def test_contexts_are_all_frames_none_each_alone_and_orders() -> None:
    plain = contexts(3, shuffles=0, key="k")
    assert [(c.kind, c.index) for c in plain] == [
        (VIDEO, (0, 1, 2)), (TEXT, ()), (FRAME, (0,)), (FRAME, (1,)), (FRAME, (2,)),
    ]  # fmt: skip
    ordered = contexts(3, shuffles=2, key="k")
    assert [c.kind for c in ordered[5:]] == [SHUFFLED, SHUFFLED, REVERSED]
    assert ordered == contexts(3, shuffles=2, key="k")


def test_a_film_in_another_order_or_without_a_segment_is_a_film_of_its_own() -> None:
    found = contexts(4, shuffles=1, key="k", segments=True)
    names = {(c.kind, c.frame): c.names for c in found}
    assert names[VIDEO, None] == names[SHUFFLED, 0] == names[REVERSED, None] == names[WITHOUT, 2] == (1, 2, 3, 4)
    assert names[FRAME, 2] == (3,)
    assert Context(HELD, None, (0, 0, 3, 3)).names == (1, 2, 3, 4)


def test_a_left_out_frame_is_replaced_by_its_neighbour() -> None:
    films = [c.index for c in contexts(4, shuffles=0, key="k", segments=True) if c.kind == WITHOUT]
    assert films == [(1, 1, 2, 3), (0, 0, 2, 3), (0, 1, 1, 3), (0, 1, 2, 2)]


def test_long_plans_are_cut_into_eight_segments() -> None:
    assert [len(part) for part in segments(32)] == [4] * 8
    assert [t for part in segments(11) for t in part] == list(range(11))
    films = [c.index for c in contexts(32, shuffles=0, key="k", segments=True) if c.kind == WITHOUT]
    assert len(films) == 8
    assert films[1][:10] == (0, 1, 2, 3, 3, 3, 8, 8, 8, 9)  # frames 4 to 7: the nearer of 3 and 8


def test_one_frame_has_no_order_and_no_neighbour() -> None:
    assert [c.kind for c in contexts(1, shuffles=4, key="k", segments=True)] == [VIDEO, TEXT, FRAME]


def test_frames_that_are_kept_are_held_until_the_next() -> None:
    assert held(8, (0, 7)) == (0, 0, 0, 0, 7, 7, 7, 7)
    assert held(8, (2, 4, 5)) == (2, 2, 2, 2, 4, 5, 5, 5)
    assert held(3, (0, 1, 2)) == (0, 1, 2)


@pytest.mark.parametrize(("floor", "hackability"), [(1e-5, 5.0 / 8.0), (3.9, 5.0 / 8.0), (4.1, None)])
def test_an_uncalibrated_gain_up_to_the_floor_of_its_tokens_is_none(floor: float, hackability: float | None) -> None:
    s = target_score("t", (3, 4), _read(2.0, 10.0, [5.0, 7.0]), None, floor)  # a gain of 8 nats on two tokens
    assert s.hackability == hackability
    assert s.flags == (() if hackability else ("ungrounded",))
    calibrated = target_score("t", (3, 4), _read(2.0, 10.0, [5.0, 7.0]), THRESHOLDS, floor)
    assert calibrated.hackability == 5.0 / 8.0


def test_segments_that_are_missed_by_no_more_than_the_floor_are_no_frames() -> None:
    assert effective_frames([0.3, 0.3], 0.5) == pytest.approx(2.0)
    assert effective_frames([0.3, 0.1], 0.5) is None


@pytest.mark.parametrize(("orders", "verdict"), [(1, "temporal"), (2, "order-dependent"), (3, "temporal")])
def test_the_bound_on_order_holds_for_as_many_orders_as_were_calibrated(orders: int, verdict: str) -> None:
    bins = [{"max_tokens": None, "text_gain": 0.5, "tpl_key": 0.5, "order_gain": 1.0}]
    read = _read(2.0, 10.0, [5.0, 7.0], reversed=6.0)
    read |= {Context(SHUFFLED, k, (1, 0)): np.array([-9.0, 0.0], np.float32) for k in range(orders)}
    s = target_score("t", (3, 4), read, Thresholds.from_card({"bins": bins, "orders": 2}))
    assert (s.order_gain, s.verdict) == (7.0, verdict)
