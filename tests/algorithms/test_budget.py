"""Estimates from few frames, against a scorer whose curve is known."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.stats import t as student

from schemas.sample import TargetEstimate, TargetScore
from stages.algorithms.budget import Budget, estimates
from stages.algorithms.thresholds import ONE_FRAME, TEMPORAL, UNGROUNDED, Thresholds
from stages.algorithms.tpl import FRAME, TEXT, VIDEO, Context
from stages.measure import Measures, measure
from stages.models.protocols import Reading, Target

T = 32
BOUNDS = Thresholds.from_card({"text_gain": 1.0, "tpl_key": 0.5})
TARGET = Target("a", "q", "y z")
WAVE = 6 + 4 * np.cos(np.arange(T) / T * 2 * np.pi)  # lowest at frame 16, 2 nats


@dataclass
class KnownFilm:
    """Texts of two tokens: nats by frame are 10 + curve, 10 given the film, 10 + gain given nothing."""

    curve: dict[str, np.ndarray]
    gain: dict[str, float]
    asked: list[tuple[str, Context]] = field(default_factory=list)
    calls: int = 0

    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        self.calls += 1
        self.asked += [(t.target_id, c) for t in targets for c in contexts]
        return [Reading((7, 8), tuple(self._logprob(t.target_id, c) for c in contexts)) for t in targets]

    def _logprob(self, target: str, context: Context) -> np.ndarray:
        more = {VIDEO: 0.0, TEXT: self.gain[target]}.get(context.kind)
        if more is None:
            assert context.frame is not None
            assert context.index == (context.frame,)
            more = self.curve[target][context.frame]
        return np.full(2, -(10 + more) / 2)


def one(
    budget: str,
    curve: np.ndarray,
    gain: float = 9.0,
    *,
    key: str = "clip",
    thresholds: Thresholds | None = BOUNDS,
    floor: float = 1e-5,
) -> tuple[TargetScore | TargetEstimate, KnownFilm]:
    film = KnownFilm({"a": curve}, {"a": gain})
    found = estimates(film, [TARGET], Budget.parse(budget), n_frames=len(curve), key=key, thresholds=thresholds,
                      floor=floor)  # fmt: skip
    return found[0], film


@pytest.mark.parametrize("text", ["", "k", "k=0", "k=-1", "k=4.5", "all", "early=2", "K=4"])
def test_a_budget_that_is_none_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(ValueError, match=r'"full", "coarse", "early", or "k=4"'):
        Budget.parse(text)


@pytest.mark.parametrize("text", ["full", "coarse", "early", "k=4", "k=12"])
def test_a_budget_reads_as_it_is_written(text: str) -> None:
    assert str(Budget.parse(text)) == text


@pytest.mark.parametrize("budget", ["full", "k=32", "k=99"])
def test_all_frames_are_a_score_like_any_other(budget: str) -> None:
    found, film = one(budget, WAVE)
    (score,) = measure(film, [TARGET], n_frames=T, key="clip", thresholds=BOUNDS, measures=Measures())
    assert found == score
    np.testing.assert_allclose(np.array(found.curve, float), WAVE)
    assert found.tpl == pytest.approx(WAVE.mean())
    assert (found.n_read, found.tpl_se, found.best_read, found.verdict) == (T, 0.0, 16, TEMPORAL)
    assert found.tpl_key_most == score.tpl_key == pytest.approx(2.0)


@pytest.mark.parametrize("budget", ["full", "k=5", "coarse", "early"])
def test_what_was_not_read_is_null(budget: str) -> None:
    found, film = one(budget, WAVE)
    asked = [c.frame for _, c in film.asked if c.kind == FRAME]
    assert [c.kind for _, c in film.asked if c.kind != FRAME] == [VIDEO, TEXT]
    assert len(asked) == len(set(asked)) == found.n_read
    assert {t for t, value in enumerate(found.curve) if value is not None} == set(asked)
    assert [(c.context, c.frame) for c in found.contexts] == [
        (VIDEO, None),
        (TEXT, None),
        *((FRAME, t) for t in sorted(t for t in asked if t is not None)),
    ]
    for t in asked:
        assert t is not None
        assert found.curve[t] == pytest.approx(WAVE[t])


def test_random_frames_are_unbiased_and_their_error_is_right() -> None:
    found = [one("k=4", WAVE, key=f"clip{i}")[0] for i in range(600)]
    assert {f.n_read for f in found} == {4}
    tpl = np.array([f.tpl for f in found], float)
    spread = WAVE.std(ddof=1) / 2 * np.sqrt(1 - 4 / T)
    assert abs(tpl.mean() - WAVE.mean()) < 4 * spread / np.sqrt(len(tpl))
    assert tpl.std() == pytest.approx(spread, rel=0.1)
    assert np.sqrt(np.mean(np.square(np.array([f.tpl_se for f in found], float)))) == pytest.approx(spread, rel=0.1)
    assert all(f.tpl_key_most is not None and f.tpl_key_most >= WAVE.min() - 1e-9 for f in found)


def test_one_random_frame_has_no_error() -> None:
    found, _ = one("k=1", WAVE)
    assert found.tpl is not None
    assert found.tpl_se is None


def test_of_known_frames_the_estimate_is_known() -> None:
    found, _ = one("k=3", np.arange(8.0))
    read = np.flatnonzero([value is not None for value in found.curve])
    assert isinstance(found, TargetEstimate)
    assert found.tpl == pytest.approx(read.mean())
    assert found.tpl_se == pytest.approx(np.std(read, ddof=1) / np.sqrt(3) * np.sqrt(5 / 8))
    assert (found.best_read, found.tpl_key_most) == (read[0], pytest.approx(read[0], abs=1e-5))
    assert (found.nll_video, found.nll_text, found.text_gain) == pytest.approx((10.0, 19.0, 9.0))


@pytest.mark.parametrize("k", [4, 8])
def test_the_truth_is_in_the_interval_as_often_as_it_should_be(k: int) -> None:
    wide = student.ppf(0.975, k - 1)
    found = [one(f"k={k}", WAVE, key=f"clip{i}")[0] for i in range(600)]
    inside = [abs((f.tpl or np.inf) - WAVE.mean()) <= wide * (f.tpl_se or 0) for f in found]
    assert 0.92 < np.mean(inside) < 0.98  # .95, and a wave of 32 frames is no normal distribution


@pytest.mark.parametrize("lowest", range(0, T, 3))
def test_coarse_finds_the_best_frame_of_a_smooth_curve_from_twelve(lowest: int) -> None:
    found, _ = one("coarse", 2 + 0.01 * (np.arange(T) - lowest) ** 2)
    assert found.best_read == lowest
    assert found.n_read <= 12
    assert found.tpl is None  # frames around the best one are no sample


def test_coarse_reads_evenly_then_nearer_and_nearer() -> None:
    found, film = one("coarse", WAVE)
    asked = [c.frame for _, c in film.asked if c.kind == FRAME]
    assert asked == [2, 6, 10, 14, 18, 22, 26, 30, 12, 16, 15, 17]
    assert film.calls == 1 + 3
    assert (found.best_read, found.n_read, found.tpl_key_most) == (16, 12, pytest.approx(2.0))


@pytest.mark.parametrize("n_frames", [1, 2, 3, 5])
def test_coarse_of_few_frames(n_frames: int) -> None:
    found, _ = one("coarse", np.linspace(3, 2, n_frames))
    assert found.tpl_key_most == pytest.approx(2.0 if n_frames > 1 else 3.0)


def test_early_reads_no_frame_of_what_the_video_does_not_tell() -> None:
    found, film = one("early", WAVE, gain=0.9)
    assert (found.verdict, found.n_read, found.tpl, found.tpl_key_most) == (UNGROUNDED, 0, None, None)
    assert {c.kind for _, c in film.asked} == {VIDEO, TEXT}


@pytest.mark.parametrize(("gain", "n_read"), [(0.3, 0), (0.5, 4)])
def test_early_without_thresholds_reads_no_frame_of_a_gain_within_the_floor(gain: float, n_read: int) -> None:
    found, _ = one("early", np.full(T, 0.3), gain, thresholds=None, floor=0.2)  # two tokens
    assert (found.verdict, found.n_read) == (None, n_read)


def test_early_stops_where_one_frame_tells_all_and_then_claims_no_mean() -> None:
    found, _ = one("early", np.full(T, 0.3))
    assert (found.verdict, found.n_read, found.tpl) == (ONE_FRAME, 4, None)


def test_early_stops_where_frames_agree_and_reads_on_where_they_do_not() -> None:
    flat, _ = one("early", 6 + 0.01 * WAVE)
    assert (flat.n_read, flat.verdict) == (4, None)
    assert flat.tpl == pytest.approx(6 + 0.01 * WAVE.mean(), abs=0.03)
    rough, _ = one("early", 20 + 10 * np.resize([1.0, -1.0], T))
    assert rough.n_read > 12


def test_early_without_thresholds_decides_nothing() -> None:
    found, _ = one("early", np.full(T, 0.3), gain=0.5, thresholds=None)
    assert found.verdict is None
    assert found.tpl == pytest.approx(0.3)


def test_early_without_thresholds_knows_enough_within_the_floor_of_the_number_format() -> None:
    rough = 20 + 10 * np.resize([1.0, -1.0], T)
    least, most = (one("early", rough, 20.0, thresholds=None, floor=floor)[0].n_read for floor in (9.9, 1e-5))
    assert (least, most > 12) == (4, True)


def test_texts_of_a_clip_share_their_frames_and_stop_alone() -> None:
    rough = 20 + 10 * np.resize([1.0, -1.0], T)
    film = KnownFilm({"a": np.full(T, 6.0), "b": rough, "c": rough}, {"a": 9.0, "b": 9.0, "c": 9.0})
    targets = [Target(name, "q", "y z") for name in "abc"]
    a, b, c = estimates(film, targets, Budget.parse("early"), n_frames=T, key="clip", thresholds=BOUNDS)
    assert a.n_read == 4
    assert b.n_read > a.n_read
    assert [v is None for v in b.curve] == [v is None for v in c.curve]
    assert film.calls == 1 + 1 + (b.n_read - 4) / 2  # video and text, the first four, two by two


def test_what_is_not_finite_is_no_estimate() -> None:
    with pytest.raises(FloatingPointError, match="a: log-probabilities in context frame"):
        one("k=32", np.where(np.arange(T) == 3, np.nan, WAVE))
