"""Scores through a scorer whose texts need known frames: numbers by hand, verdicts, and what was read for them."""

from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.pair_rows import token_rows
from schemas.sample import TargetScore
from stages.algorithms.certificate import most_reads
from stages.algorithms.thresholds import Thresholds
from stages.algorithms.tpl import HELD, TEXT, VIDEO, WITHOUT, Context
from stages.measure import Measures, measure
from stages.models.protocols import Reading, Target
from tests.fake_scorer import RULES, THRESHOLDS, FakeWatched

ALL = Measures(shuffles=4, segments=True, certificate=True)


def _measured(
    *rules: str, measures: Measures = ALL, thresholds: Thresholds | None = THRESHOLDS, n_frames: int = 8
) -> tuple[tuple[TargetScore, ...], FakeWatched]:
    watched = FakeWatched(n_frames)
    targets = [Target(rule, "What happens?", f"{rule} of the rules") for rule in rules]
    return measure(watched, targets, n_frames=n_frames, key="clip", thresholds=thresholds, measures=measures), watched


@pytest.mark.parametrize(
    ("rule", "verdict", "certificate"),
    [
        ("nothing", "ungrounded", None),
        ("wrong", "ungrounded", None),
        ("one", "one-frame", (0,)),
        ("pair", "few-frames", (2, 5)),
        ("ends", "few-frames", (0, 7)),
        ("every", "temporal", tuple(range(8))),
        ("order", "order-dependent", (0, 7)),
    ],
)
def test_each_kind_of_text_gets_its_verdict(rule: str, verdict: str, certificate: tuple[int, ...] | None) -> None:
    ((score,), _) = _measured(rule)
    assert (score.verdict, score.certificate) == (verdict, certificate)
    assert score.certificate_share == (None if certificate is None else 1.0)


def test_numbers_of_a_text_that_both_ends_tell() -> None:
    ((s,), _) = _measured("ends")
    assert s.curve == (4.0, *[8.0] * 6, 4.0)
    assert (s.best_frame, s.tpl, s.tpl_key, s.text_gain, s.static_gain) == (0, 7.0, 4.0, 8.0, 4.0)
    assert (s.tpl_per_token, s.tpl_key_per_token, s.top3) == (1.75, 1.0, pytest.approx(4.0 / 3))
    assert s.segment_gain == (4.0, *[0.0] * 6, 4.0)
    assert s.effective_frames == pytest.approx(2.0)
    assert (s.order_gain, s.order_gain_sd, s.reverse_gain, s.hackability) == (0.0, 0.0, 0.0, 0.5)


def test_numbers_of_a_text_that_needs_the_order() -> None:
    ((s,), watched) = _measured("order")
    orders = [c.index for c in watched.asked if c.kind == "shuffled"]
    gains = [0.0 if o.index(0) < o.index(7) else 11.0 for o in orders]
    assert s.order_gain == pytest.approx(np.mean(gains))
    assert s.order_gain_sd == pytest.approx(np.std(gains, ddof=1))
    assert s.reverse_gain == 11.0


def test_what_two_neighbours_both_tell_is_not_missed() -> None:
    ((s,), _) = _measured("halves")
    assert s.segment_gain == (0.0,) * 8
    assert s.effective_frames is None
    assert s.certificate is not None
    assert len(s.certificate) == 2


def test_what_is_not_asked_for_is_not_read_and_is_null() -> None:
    ((score, other), watched) = _measured("order", "pair", measures=Measures())
    assert Counter(c.kind for c in watched.asked) == {"video": 1, "text": 1, "frame": 8}
    assert (score.verdict, other.verdict) == ("temporal", "temporal")
    empty = ("order_gain", "order_gain_sd", "reverse_gain", "segment_gain", "effective_frames", "certificate")
    assert [getattr(score, name) for name in (*empty, "certificate_share")] == [None] * 7


@pytest.mark.parametrize("n_frames", [8, 32])
@pytest.mark.parametrize("rule", RULES)
def test_reads_are_bounded(rule: str, n_frames: int) -> None:
    _, watched = _measured(rule, n_frames=n_frames)
    read = Counter(c.kind for c in watched.asked)
    assert read[WITHOUT] == 8
    assert read[HELD] <= most_reads(n_frames)
    films = [c.index for c in watched.asked if c.kind == HELD]
    assert all(index == tuple(sorted(index)) and len(index) == n_frames for index in films)


def test_targets_share_what_is_not_adaptive() -> None:
    (scores, watched) = _measured("one", "nothing", "ends")
    assert [s.target_id for s in scores] == ["one", "nothing", "ends"]
    assert Counter(c.kind for c in watched.asked if c.kind != HELD) == {
        "video": 1, "text": 1, "frame": 8, "shuffled": 4, "reversed": 1, "without": 8,
    }  # fmt: skip


def test_a_score_does_not_depend_on_its_company() -> None:
    ((alone,), _) = _measured("middle")
    ((_, beside), _) = _measured("order", "middle")
    assert alone == beside


def test_a_scorer_without_thresholds_measures_all_and_judges_nothing() -> None:
    ((score,), _) = _measured("pair", thresholds=None)
    assert (score.verdict, score.certificate) == (None, (2, 5))


def test_a_single_frame_is_all_there_is() -> None:
    ((score,), _) = _measured("one", n_frames=1)
    assert (score.verdict, score.certificate, score.segment_gain) == ("one-frame", (0,), None)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="shuffles=-1"):
        Measures(shuffles=-1)


class _Lone(FakeWatched):
    """Told by frame 2 alone, but not by a film of its copies."""

    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        told = {VIDEO: -1.0, TEXT: -10.0, HELD: -3.3}
        row = [told.get(c.kind, -1.2 if c.frame == 2 else -8.0) for c in contexts]
        return [Reading((5,), tuple(np.array([v], np.float32) for v in row)) for _ in targets]


def test_a_certificate_of_a_frame_that_was_read_alone_says_so() -> None:
    only = Measures(certificate=True)
    (s,) = measure(_Lone(4), [Target("p", "q", "a")], n_frames=4, key="c", thresholds=None, measures=only)
    clip = SimpleNamespace(frame_tick=(0, 1, 2, 3), clip_id="c", scores=(s,), estimates=())
    (row,) = [t for t in token_rows(clip, only) if t.context == HELD]  # type: ignore[arg-type]
    assert (s.certificate, row.frame, row.shown) == ((2,), 2, (2,))
    assert row.token_logprob == pytest.approx((-1.2,))


def test_no_certificate_is_sought_of_a_gain_within_the_floor() -> None:
    target, only = Target("p", "q", "a"), Measures(certificate=True)  # one token that gains nine nats
    for floor, certificate in ((8.9, (2,)), (9.1, None)):
        (s,) = measure(_Lone(4), [target], n_frames=4, key="c", thresholds=None, measures=only, floor=floor)
        assert s.certificate == certificate
