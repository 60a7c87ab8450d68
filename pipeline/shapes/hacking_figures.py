"""Figures of the hacking experiment with 95 % intervals, drawn again over seeds and over held-out films.

All arms are measured on the same films, and arms of a seed learned from the same films: differences are drawn in pairs.
Three seeds are few: an interval over them is rather too narrow than too wide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.shapes.hacking_choices import TEMPORAL
from pipeline.shapes.hacking_measures import ALL, TAMPERED, TOLD

RESAMPLES = 2000
Drawn = np.ndarray  # (1 + RESAMPLES,): the figure itself, then its draws


@dataclass(frozen=True, slots=True)
class Figure:
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} .. {self.high:.3f})"

    @property
    def sign(self) -> int:
        """1 or -1 where the interval excludes zero, else 0."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


class Table:
    """Every figure of every arm, and differences between arms, by one set of draws."""

    def __init__(self, results: Mapping[str, Sequence[Mapping[str, list]]]) -> None:
        """`results[arm]`: the sums of each seed; an arm of one, the base, stands beside all seeds of the others."""
        seeds = max(map(len, results.values()))
        films = len(next(iter(next(iter(results.values()))[0].values())))
        self._sums = {arm: [own[k % len(own)] for k in range(seeds)] for arm, own in results.items()}
        rng = np.random.default_rng(0)
        films_again = rng.multinomial(films, np.full(films, 1 / films), size=RESAMPLES)
        self._films = np.vstack([np.ones(films), films_again])  # (1 + R, films): how often each is drawn
        seeds_again = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES)
        self._seeds = np.vstack([np.ones(seeds), seeds_again]) / seeds

    def drawn(self, arm: str, name: str) -> Drawn:
        """A ratio of sums, mean over seeds."""
        by_seed = []
        for sums in self._sums[arm]:
            over, under = np.array(sums[name]).T
            by_seed.append((self._films @ over) / (self._films @ under))
        return (self._seeds * np.array(by_seed).T).sum(1)

    def right(self, arm: str, skill: str, shown: str = ALL) -> Drawn:
        """Share of right choices; "temporal" is the mean of the four temporal skills."""
        skills = TEMPORAL if skill == "temporal" else (skill,)
        return np.mean([self.drawn(arm, f"right/{s}/{shown}") for s in skills], axis=0)

    def loss(self, arm: str, shown: str) -> Drawn:
        """How much accuracy a film that was tampered with costs, mean of the four temporal skills."""
        return self.right(arm, "temporal") - self.right(arm, "temporal", shown)

    def rise(self, arm: str, shown: str) -> Drawn:
        """How much less likely it makes true temporal texts, nats a token, mean of their kinds."""
        rises = [self.drawn(arm, f"nll/{k}/{shown}") - self.drawn(arm, f"nll/{k}/{ALL}") for k in TOLD]
        return np.mean(rises, axis=0)

    def tpl(self, arm: str, kind: str, name: str = "tpl") -> Drawn:
        """Nats a token; "temporal" is the mean of the kinds of temporal text."""
        return np.mean([self.drawn(arm, f"{name}/{k}") for k in (TOLD if kind == "temporal" else (kind,))], axis=0)

    def nll(self, arm: str) -> Drawn:
        """Nats a token of true temporal texts given all frames."""
        return np.mean([self.drawn(arm, f"nll/{k}/{ALL}") for k in TOLD], axis=0)

    def chance(self, skill: str) -> float:
        arm = next(iter(self._sums))
        return float(
            np.mean([self.drawn(arm, f"chance/{s}")[0] for s in (TEMPORAL if skill == "temporal" else [skill])])
        )


def figure(drawn: Drawn) -> Figure:
    low, high = np.percentile(drawn[1:], [2.5, 97.5])
    return Figure(float(drawn[0]), float(low), float(high))


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that the paper says or implies, as a difference that should be positive."""

    says: str
    difference: Figure

    @property
    def outcome(self) -> str:
        return {1: "agrees", -1: "disagrees", 0: "not decided"}[self.difference.sign]


def claims(table: Table) -> list[Claim]:
    """The paper's claims, each as one difference between arms."""

    def right(more: str, less: str) -> Figure:
        return figure(table.right(more, "temporal") - table.right(less, "temporal"))

    def rise(more: str, less: str, shown: str) -> Figure:
        return figure(table.rise(more, shown) - table.rise(less, shown))

    used = [
        Claim(f"{says} ({shown} frames cost more nats a token)", rise(more, less, shown))
        for says, more, less in (
            ("UTR targets make a model use more frames than one-frame captions", "utr", "one_frame"),
            ("data of higher TPL make a model use more frames: top against low", "tpl_top", "tpl_low"),
        )
        for shown in TAMPERED
    ]
    return [
        Claim(
            "one-frame captions make temporal understanding worse: base against one_frame", right("base", "one_frame")
        ),
        Claim("the more of them, the worse: one_frame against one_frame_2x", right("one_frame", "one_frame_2x")),
        Claim("UTR targets make it better: utr against base", right("utr", "base")),
        Claim("UTR targets are better than one-frame captions: utr against one_frame", right("utr", "one_frame")),
        Claim("UTR targets are better than the base's own mixture: utr against course", right("utr", "course")),
        Claim("choosing by TPL is better than at random: top against random", right("tpl_top", "tpl_random")),
        Claim("a low-TPL half is worse than a random one: random against low", right("tpl_random", "tpl_low")),
        Claim("a high-TPL half is better than a low-TPL half: top against low", right("tpl_top", "tpl_low")),
        *used,
        Claim(
            "TPL of held-out temporal texts is higher after UTR targets than after one-frame captions",
            figure(table.tpl("utr", "temporal") - table.tpl("one_frame", "temporal")),
        ),
    ]
