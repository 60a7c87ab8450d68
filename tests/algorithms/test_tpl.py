"""TPL's quantities on log-probabilities made by hand."""

import numpy as np
import pytest

from stages.algorithms.tpl import FRAME, REVERSED, SHUFFLED, TEXT, VIDEO, Context, Thresholds, contexts, target_score

THRESHOLDS = Thresholds(text_gain=0.5, tpl_key=0.5)


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
