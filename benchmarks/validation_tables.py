"""The figures of the validation: who tells needs-time, is order-dependence what the world says, are frames found."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.validation_rows import Row
from benchmarks.validation_stats import Figure, auc, interval, matched, mean, repeated, spearman
from stages.algorithms.thresholds import Thresholds

Metric = Callable[[Row], float]
METRICS: dict[str, Metric] = {
    "tpl_key (best frame)": lambda r: r.score.tpl_key,
    "tpl (mean of frames)": lambda r: r.score.tpl,
    "tpl_random, a token (paper)": lambda r: r.score.tpl_random_per_token,
    "tpl_random (one draw)": lambda r: r.score.tpl_random,
    "tpl_key, a token": lambda r: r.score.tpl_key_per_token,
    "gate tpl_key > 0, then top3": lambda r: cascade(r.score.tpl_key, r.score.top3),
    "order_gain (shuffles)": lambda r: r.score.order_gain or 0.0,
    "reverse_gain": lambda r: r.score.reverse_gain or 0.0,
    "baseline: text length": lambda r: float(len(r.score.token_id)),
    "baseline: NLL, video": lambda r: r.score.nll_video,
    "baseline: NLL, one frame": lambda r: r.score.nll_video + r.score.tpl_random,
}
COLUMNS = (
    "all visible", "all visible + mismatched", "length-matched", "length-matched + mismatched",
    "mixed visibility", "mixed visibility + mismatched",
)  # fmt: skip
TARGETS = {"all visible + mismatched": 0.975, "length-matched": 0.95}
COMPARED = ("tpl_key", "tpl", "tpl_random", "text_gain", "top3", "order_gain")


def cascade(tpl_key: float, top3: float) -> float:
    """Ranks what one frame gives away, and what is not so, below all else; the rest by its three best tokens."""
    return 1e3 + top3 if tpl_key > 0 else min(tpl_key, 0.0)


def needs_time(rows: Sequence[Row]) -> dict[str, dict[str, Figure]]:
    """Metric -> column -> AUC of needs-time."""
    return {name: {column: _auc(rows, metric, column) for column in COLUMNS} for name, metric in METRICS.items()}


def _auc(rows: Sequence[Row], metric: Metric, column: str) -> Figure:
    chosen = [r for r in rows if (r.true or "mismatched" in column) and (r.all_visible or "mixed" in column)]
    values = np.array([metric(r) for r in chosen])
    positive = np.array([r.needs_time for r in chosen])
    n_tokens = np.array([len(r.score.token_id) for r in chosen])

    def statistic(weights: np.ndarray) -> float:
        return auc(values, positive, matched(n_tokens, positive, weights) if "length" in column else weights)

    return interval(statistic, [r.film for r in chosen])


def order_dependence(rows: Sequence[Row], thresholds: Thresholds | None) -> dict[str, Figure]:
    """AUC of "the truth changes" for single orders and for texts; the share of texts that the bound judges right."""
    read = [(r.film, o) for r in rows if r.true for o in r.orders]
    figures: dict[str, Figure] = {}
    for kind in ("shuffled", "reversed"):
        own = [(film, o) for film, o in read if o.kind == kind]
        figures[f"AUC, {kind}, each order"] = _plain(
            [o.gain for _, o in own], [o.changes for _, o in own], [f for f, _ in own]
        )
    texts = [r for r in rows if r.true and r.score.order_gain is not None]
    truth = np.array([any(o.changes for o in r.orders if o.kind == "shuffled") for r in texts])
    film = [r.film for r in texts]
    figures["AUC, order_gain, each text"] = _plain([r.score.order_gain or 0.0 for r in texts], truth, film)
    if thresholds and all(b.order_gain is not None for b in thresholds.bins):
        said = np.array([(r.score.order_gain or 0.0) > _order_bound(r, thresholds) for r in texts])
        for name, here in (("right", np.ones(len(texts), bool)), ("right where it changes", truth),
                           ("right where it does not", ~truth)):  # fmt: skip
            hits, own = (said == truth)[here], [f for f, h in zip(film, here, strict=True) if h]
            figures[f"share of texts judged {name}"] = interval(lambda w, hits=hits: mean(hits, w), own)
    return figures


def certificates(rows: Sequence[Row]) -> dict[str, dict[str, Figure]]:
    """Kind of text -> recall of needed frames, share with at most one frame too many, size and fewest."""
    found: dict[str, dict[str, Figure]] = {}
    names = {"ends": "ends, caption", "appears": "appearances, caption", "dense": "appearances, timeline"}
    for kind, name in names.items():
        own = [r for r in rows if r.needs and r.kind == kind]
        if not own:
            continue
        film = [r.film for r in own]
        measures: dict[str, Metric] = {
            "recall of needed frames": lambda r: r.recall,
            "at most one frame too many": lambda r: float(r.surplus <= 1),
            "frames in it": lambda r: float(len(r.score.certificate or ())),
            "fewest frames needed": lambda r: float(len(r.score.certificate or ()) - r.surplus),
            "effective frames": lambda r: r.score.effective_frames or 0.0,
        }
        found[name] = {m: _mean([f(r) for r in own], film) for m, f in measures.items()}
    return found


def verdicts(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Kind of text, true or not -> how often which verdict."""
    found: dict[str, dict[str, int]] = {}
    for r in rows:
        kind = r.kind if r.true else "of another film"
        kind += "" if not r.true or r.needs_time or r.kind not in ("static",) else " (one frame shows all)"
        own = found.setdefault(kind, {})
        own[str(r.score.verdict)] = own.get(str(r.score.verdict), 0) + 1
    return dict(sorted(found.items()))


def by_kind(rows: Sequence[Row]) -> dict[str, list[float]]:
    """tpl_key of the texts of each kind on films where all is visible: for the plot."""
    found: dict[str, list[float]] = {}
    for r in rows:
        if r.all_visible:
            found.setdefault(r.kind if r.true else f"{r.kind}, other film", []).append(r.score.tpl_key)
    return dict(sorted(found.items()))


def stability(a: Sequence[Row], b: Sequence[Row]) -> dict[str, Figure]:
    """Rank correlation of two scorers over the same true texts."""
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x.true]
    film = [x.film for x, _ in pairs]
    figures: dict[str, Figure] = {}
    for name in COMPARED:
        one, two = (np.array([getattr(r.score, name) or 0.0 for r in side]) for side in zip(*pairs, strict=True))

        def statistic(weights: np.ndarray, one: np.ndarray = one, two: np.ndarray = two) -> float:
            again = repeated(weights)
            return spearman(one[again], two[again])

        figures[name] = interval(statistic, film)
    return figures


def passed(found: Mapping[str, Mapping[str, Figure]]) -> list[str]:
    """A line for each target of tpl_key or the cascade: reached or missed."""
    lines: list[str] = []
    for column, least in TARGETS.items():
        for name in ("tpl_key (best frame)", "gate tpl_key > 0, then top3"):
            value = found[name][column].value
            lines.append(f"{column}: {name} {value:.3f}, target {least}: {'reached' if value >= least else 'missed'}")
    return lines


def _order_bound(row: Row, thresholds: Thresholds) -> float:
    bound = thresholds.of(len(row.score.token_id)).order_gain
    return 0.0 if bound is None else bound


def _plain(values: Sequence[float], positive: Sequence[bool] | np.ndarray, film: Sequence[int]) -> Figure:
    v, p = np.asarray(values, float), np.asarray(positive, bool)
    return interval(lambda weights: auc(v, p, weights), film)


def _mean(values: Sequence[float], film: Sequence[int]) -> Figure:
    v = np.asarray(values, float)
    return interval(lambda weights: mean(v, weights), film)
