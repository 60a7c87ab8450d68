"""The figures of the validation: who tells needs-time, is order-dependence what the world says, are frames found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.validation_rows import BOXES, Certified, Row
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
TARGETS = {
    "all visible + mismatched": 0.975, "mixed visibility + mismatched": 0.975, "length-matched": 0.95,
    "length-matched + mismatched": 0.95,
}  # fmt: skip
WORDS, ALL = "captions and timelines", "all texts, boxes included"
RECALL = 0.9  # of needed frames, at least
CERTIFIED = "recall with at most one frame too many"  # what the target is about: all frames would have all recall
FRAMES: dict[str, Callable[[Certified], float]] = {
    CERTIFIED: lambda c: c.recall if c.surplus <= 1 else 0.0,
    "recall of needed frames": lambda c: c.recall,
    "at most one frame too many": lambda c: float(c.surplus <= 1),
    "enough by itself": lambda c: float(c.enough),
    "frames in it": lambda c: float(len(c.frames)),
    "fewest that are enough": lambda c: float(c.least),
    "recall of as many random frames": lambda c: c.chance,
    "recall by the old label, of single pictures": lambda c: c.recall_of_pictures,
}
COMPARED = ("tpl_key", "tpl", "tpl_random", "text_gain", "top3", "order_gain")


def cascade(tpl_key: float, top3: float) -> float:
    """Ranks what one frame gives away, and what is not so, below all else; the rest by its three best tokens."""
    return 1e3 + top3 if tpl_key > 0 else min(tpl_key, 0.0)


def sets(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The texts that are made of words, and all texts."""
    return {WORDS: [r for r in rows if r.kind not in BOXES], ALL: list(rows)}


def needs_time(rows: Sequence[Row]) -> dict[str, dict[str, Figure]]:
    """Metric -> column -> AUC of needs-time."""
    return {name: {column: _auc(rows, metric, column) for column in COLUMNS} for name, metric in METRICS.items()}


def kinds(rows: Sequence[Row]) -> dict[str, dict[str, Figure]]:
    """Kind of text and its label -> tokens, share of its nats that the video explains, AUC against the other label."""
    found: dict[str, dict[str, Figure]] = {}
    for name in sorted({_labelled(r) for r in rows}):
        own = [r for r in rows if _labelled(r) == name]
        both = [*own, *(r for r in rows if r.needs_time != own[0].needs_time)]
        film = [r.film for r in own]
        gain, nll = (np.array([f(r.score) for r in own]) for f in (lambda s: s.text_gain, lambda s: s.nll_text))
        found[name] = {
            "tokens": _mean([len(r.score.token_id) for r in own], film),
            "explained": interval(lambda w, gain=gain, nll=nll: float(w @ gain / (w @ nll)), film),
            "tpl_key": _mean([r.score.tpl_key for r in own], film),
            "AUC": _plain([r.score.tpl_key for r in both], [r.needs_time for r in both], [r.film for r in both]),
        }
    return found


def _kind(row: Row) -> str:
    return row.kind if row.true else "of another film"


def _labelled(row: Row) -> str:
    label = ", needs time" if row.needs_time else ", one picture gives it" if row.true else ""
    return _kind(row) + label


def _auc(rows: Sequence[Row], metric: Metric, column: str) -> Figure:
    chosen = [r for r in rows if (r.true or "mismatched" in column) and (r.all_visible or "mixed" in column)]
    values = np.array([metric(r) for r in chosen])
    positive = np.array([r.needs_time for r in chosen])
    n_tokens = np.array([len(r.score.token_id) for r in chosen])

    def compared(weights: np.ndarray) -> np.ndarray:
        return matched(n_tokens, positive, weights) if "length" in column else weights

    figure = interval(lambda w: auc(values, positive, compared(w)), [r.film for r in chosen])
    return replace(figure, n=int((compared(np.ones(len(chosen))) > 0).sum()))


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
    """Kind of text -> the figures of its certificates, beside what random frames and the label of before would give."""
    found: dict[str, dict[str, Figure]] = {}
    names = {"ends": "ends, caption", "appears": "appearances, caption", "dense": "appearances, timeline"}
    for kind, name in names.items():
        own = [(r, r.certified) for r in rows if r.certified and r.kind == kind]
        if own:
            film = [r.film for r, _ in own]
            found[name] = {label: _mean([f(c) for _, c in own], film) for label, f in FRAMES.items()}
            found[name]["share of the gain that it has"] = _mean(
                [r.score.certificate_share or 0.0 for r, _ in own], film
            )
            found[name]["effective frames"] = _mean([r.score.effective_frames or 0.0 for r, _ in own], film)
    return found


def verdicts(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Kind of text, true or not -> how often which verdict."""
    found: dict[str, dict[str, int]] = {}
    for r in rows:
        kind = _kind(r)
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


def stability(a: Sequence[Row], b: Sequence[Row]) -> dict[str, dict[str, Figure]]:
    """Set of texts -> quantity -> rank correlation of two scorers over the same true texts."""
    return {name: _correlations(own, sets(b)[name]) for name, own in sets(a).items()}


def _correlations(a: Sequence[Row], b: Sequence[Row]) -> dict[str, Figure]:
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
    """A line for each target of tpl_key and of the cascade: reached or missed."""
    lines: list[str] = []
    for column, least in TARGETS.items():
        for name in ("tpl_key (best frame)", "gate tpl_key > 0, then top3"):
            lines.append(f"{column}: {name} {_against(found[name][column].value, least)}")
    return lines


def passed_frames(found: Mapping[str, Mapping[str, Figure]]) -> list[str]:
    """A line for the target of each kind of certificate."""
    return [f"{kind}: {CERTIFIED} {_against(figures[CERTIFIED].value, RECALL)}" for kind, figures in found.items()]


def _against(value: float, least: float) -> str:
    return f"{value:.3f}, target {least}: {'reached' if value >= least else 'missed'}"


def _order_bound(row: Row, thresholds: Thresholds) -> float:
    bound = thresholds.of(len(row.score.token_id)).order_gain
    return 0.0 if bound is None else bound


def _plain(values: Sequence[float], positive: Sequence[bool] | np.ndarray, film: Sequence[int]) -> Figure:
    v, p = np.asarray(values, float), np.asarray(positive, bool)
    return interval(lambda weights: auc(v, p, weights), film)


def _mean(values: Sequence[float], film: Sequence[int]) -> Figure:
    v = np.asarray(values, float)
    return interval(lambda weights: mean(v, weights), film)
