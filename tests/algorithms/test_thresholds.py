"""Bounds by length and the verdict that they give."""

import re
from typing import Any

import pytest

from stages.algorithms.thresholds import NUMERIC_FLOOR, Bounds, Thresholds, few, verdict

BOUNDS = Bounds(max_tokens=None, text_gain=1.0, tpl_key=1.0, order_gain=1.0)


def _bin(end: int | None, **values: float) -> dict[str, float | int | None]:
    return {"max_tokens": end, "text_gain": 1.0, "tpl_key": 1.0, "order_gain": 1.0, **values}


def _says(bounds: Bounds | None = BOUNDS, **values: Any) -> str | None:
    told: dict[str, Any] = {
        "n_frames": 8, "text_gain": 9.0, "tpl_key": 5.0, "order_gain": None, "certificate": None,
        "certificate_share": None,
    }  # fmt: skip
    return verdict(bounds, **{**told, **values})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"text_gain": 1.0, "order_gain": 9.0}, "ungrounded"),  # a gain up to the bound is none
        ({"tpl_key": 1.0, "order_gain": 9.0}, "one-frame"),
        ({}, "temporal"),
        ({"order_gain": 1.0}, "temporal"),
        ({"order_gain": 1.1}, "order-dependent"),
        ({"certificate": (2, 5), "certificate_share": 0.95}, "few-frames"),
        ({"certificate": (2,), "certificate_share": 0.95}, "few-frames"),
        ({"certificate": (2, 5, 6), "certificate_share": 0.95}, "temporal"),
        ({"certificate": (2, 5), "certificate_share": 0.8}, "temporal"),
        ({"certificate": (2, 5, 6), "certificate_share": 0.95, "n_frames": 32}, "few-frames"),
        ({"certificate": (2, 5), "certificate_share": 0.95, "order_gain": 2.0}, "order-dependent"),
    ],
)
def test_verdicts(values: dict[str, Any], says: str) -> None:
    assert _says(**values) == says


def test_no_thresholds_no_verdict() -> None:
    assert _says(None) is None


def test_order_without_its_bound_decides_nothing() -> None:
    assert _says(Bounds(max_tokens=None, text_gain=1.0, tpl_key=1.0, order_gain=None), order_gain=9.0) == "temporal"


def test_few_is_a_quarter_of_the_plan_and_two_at_least() -> None:
    assert [few(n) for n in (2, 8, 16, 32)] == [2, 2, 4, 8]


def test_a_target_finds_the_bin_of_its_length() -> None:
    found = Thresholds.from_card({"bins": [_bin(10, tpl_key=2.0), _bin(40, tpl_key=3.0), _bin(None, tpl_key=4.0)]})
    assert [found.of(n).tpl_key for n in (1, 10, 11, 40, 41, 9999)] == [2.0, 2.0, 3.0, 3.0, 4.0, 4.0]


def test_the_old_card_is_one_bin_and_never_under_the_floor() -> None:
    (only,) = Thresholds.from_card({"text_gain": -0.9, "tpl_key": 0.6}).bins
    assert only == Bounds(max_tokens=None, text_gain=NUMERIC_FLOOR, tpl_key=0.6, order_gain=None)


@pytest.mark.parametrize("ends", [[], [10], [None, None], [20, 10, None], [10, 10, None], [None, 10]])
def test_bins_that_leave_a_length_without_bounds_are_refused(ends: list[int | None]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"max_tokens are {ends}; they must rise and end in null")):
        Thresholds.from_card({"bins": [_bin(end) for end in ends]})


def test_the_card_says_how_many_orders_and_four_where_it_does_not() -> None:
    assert Thresholds.from_card({"bins": [_bin(None)], "orders": 8}).orders == 8
    assert Thresholds.from_card({"bins": [_bin(None)]}).orders == 4
    assert Thresholds.from_card({"text_gain": 1.0, "tpl_key": 1.0}).orders == 4
