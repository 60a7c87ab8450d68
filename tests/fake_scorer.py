"""A scorer without a model: what its texts need of a video is known, so every quantity can be computed by hand.

A text's first word names its rule, a function of the frames shown, in order, to the nats of its last token; each other
token costs OTHER nats whatever is shown. Texts with another first word follow `every`.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from schemas.sample import ScorerCard
from stages.algorithms.draws import stable_hash
from stages.algorithms.thresholds import Thresholds
from stages.algorithms.tpl import Context
from stages.models.protocols import Reading, Target

TOLD, UNTOLD = 1.0, 9.0  # nats of the last token where all that it needs is shown, and where nothing is
OTHER = 0.25
Rule = Callable[[Sequence[int], int], float]  # frames shown, 0-based, in order; length of the plan -> nats
THRESHOLDS = Thresholds.from_card({"text_gain": 0.5, "tpl_key": 0.5, "order_gain": 0.5})


def one(shown: Sequence[int], n: int) -> float:
    """Any frame tells it: a static text."""
    return TOLD if shown else UNTOLD


def nothing(shown: Sequence[int], n: int) -> float:
    """No frame tells it: a text that has nothing to do with the video."""
    return UNTOLD


def wrong(shown: Sequence[int], n: int) -> float:
    """The more is seen, the less likely it is: a text about another video."""
    return UNTOLD + len(set(shown))


def pair(shown: Sequence[int], n: int) -> float:
    """Frames 2 and 5 tell it together; either alone tells nothing."""
    return TOLD if {2, 5} <= set(shown) else UNTOLD


def ends(shown: Sequence[int], n: int) -> float:
    """The first and the last frame tell half each."""
    return UNTOLD - (UNTOLD - TOLD) / 2 * len({0, n - 1} & set(shown))


def middle(shown: Sequence[int], n: int) -> float:
    """The middle frame tells five eighths, the two ends together everything: whoever adds greedily takes all three."""
    if {0, n - 1} <= set(shown):
        return TOLD
    return UNTOLD - (5.0 if n // 2 in shown else 3.0 if {0, n - 1} & set(shown) else 0.0)


def halves(shown: Sequence[int], n: int) -> float:
    """Any frame of the first half tells one half of it, any of the second the other."""
    seen = {2 * t // n for t in shown}
    return UNTOLD - (UNTOLD - TOLD) / 2 * len(seen)


def every(shown: Sequence[int], n: int) -> float:
    """Each frame tells its share."""
    return UNTOLD - (UNTOLD - TOLD) * len(set(shown)) / n


def order(shown: Sequence[int], n: int) -> float:
    """The first frame before the last one tells it; the other way round says the contrary."""
    if not {0, n - 1} <= set(shown):
        return UNTOLD
    return TOLD if shown.index(0) < shown.index(n - 1) else UNTOLD + 3.0


RULES: dict[str, Rule] = {
    rule.__name__: rule for rule in (one, nothing, wrong, pair, ends, middle, halves, every, order)
}


@dataclass
class FakeWatched:
    """Remembers what it was asked."""

    n_frames: int
    asked: list[Context] = field(default_factory=list)

    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        self.asked += contexts
        return [self._reading(target, contexts) for target in targets]

    def _reading(self, target: Target, contexts: Sequence[Context]) -> Reading:
        words = target.answer.split()
        rule = RULES.get(words[0], every)
        token_id = tuple(stable_hash(word) % 1000 for word in words)
        nats = [[*[OTHER] * (len(words) - 1), rule(c.index, self.n_frames)] for c in contexts]
        return Reading(token_id, tuple(-np.array(row, np.float32) for row in nats))


@dataclass
class FakeScorer:
    """A Scorer by its rules; frames are counted and not looked at."""

    thresholds: Thresholds | None = THRESHOLDS
    n_frames: int | None = 8
    taught: tuple[str, ...] | None = None
    floor: float = 1e-5

    def card(self, frames_THWC: np.ndarray) -> ScorerCard:
        return ScorerCard(
            scorer="fake@rules",
            dtype="float32",
            engine="fake/1",
            prompt_hash="0" * 12,
            n_frames=self.n_frames or len(frames_THWC),
            scorer_domain="in",
            skill="{}",
            thresholds=json.dumps(asdict(self.thresholds) if self.thresholds else None, sort_keys=True),
        )

    def watch(self, frames_THWC: np.ndarray, times: Sequence[str]) -> FakeWatched:
        if len(frames_THWC) != len(times):
            raise ValueError(f"{len(frames_THWC)} frames, {len(times)} times")
        return FakeWatched(len(frames_THWC))
