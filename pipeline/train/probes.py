"""What watching asks of a model: which films each held-out sample is read with, and the numbers that follow.

Frame use is told by films that a reader may have seen: in another order, held still at one frame, and with every second
frame replaced by its neighbour. Attention spread and blank frames mislead (pilot): a reader that ignores time attends
widely, and blanks cost a track 18 nats. Formulas: docs/tpl.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, sqrt

import numpy as np

from pipeline.train.choices import Choice, likeliest
from schemas.row import Record
from schemas.train import Probe
from stages.algorithms.draws import draws
from stages.algorithms.tpl import FRAME, HELD, SHUFFLED, VIDEO, WITHOUT, Context, contexts, held

NEIGHBOUR, ANSWER = "neighbour", "answer"
CHANGED = (SHUFFLED, HELD, NEIGHBOUR)
ALL = "all"
SOURCE = "held-out"  # what watched samples have in place of the name of a set in the mix


@dataclass(frozen=True, slots=True)
class Reading:
    """One forward of one sample: its own answer, or an option in place of it, with some frames."""

    name: str  # VIDEO, FRAME, one of CHANGED, or ANSWER
    number: int  # of the frame, or of the option
    context: Context


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedSample(Record):
    """What one held-out sample cost at one step; gains are nats over its whole film. What does not apply is null."""

    step: int
    sample_id: str
    clip_id: str
    family: str
    n_labels: int
    nll: float  # L(y|V)
    tpl: float | None  # mean over frames of L(y|frame) - L(y|V)
    shuffled: float | None  # L(y|shuffled) - L(y|V), as the next two
    held: float | None
    neighbour: float | None
    accuracy: float | None  # 1 where the right option is the likeliest, else 0
    chance: float | None  # of guessing it


def readings(n_frames: int, key: str, choice: Choice | None) -> list[Reading]:
    """Everything that is read of a sample of so many frames shown; drawn by its key, so the same at every step."""
    every = [c for c in contexts(n_frames, shuffles=1, key=key) if c.kind in (VIDEO, FRAME, SHUFFLED)]
    found = [Reading(c.kind, c.frame or 0, c) for c in every] if n_frames > 1 else [Reading(VIDEO, 0, every[0])]
    if n_frames > 1:
        still = int(draws(0, f"{key}/held-still").integers(n_frames))
        found.append(Reading(HELD, 0, Context(HELD, None, held(n_frames, [still]))))
        found.append(Reading(NEIGHBOUR, 0, Context(WITHOUT, None, held(n_frames, range(0, n_frames, 2)))))
    return found + [Reading(ANSWER, i, every[0]) for i in range(len(choice.answers) if choice else 0)]


def watched(
    step: int, sample_id: str, clip_id: str, family: str, choice: Choice | None,
    n_labels: int, nll: Mapping[tuple[str, int], float],
) -> WatchedSample:  # fmt: skip
    """The facts of a sample from the nats of its readings, by name and number."""
    video = nll[VIDEO, 0]
    alone = [value - video for (name, _), value in nll.items() if name == FRAME]
    gains = {name: nll[name, 0] - video if (name, 0) in nll else None for name in CHANGED}
    options = [nll[ANSWER, i] for i in range(len(choice.answers))] if choice else []
    return WatchedSample(
        step=step,
        sample_id=sample_id,
        clip_id=clip_id,
        family=family,
        n_labels=n_labels,
        nll=video,
        tpl=float(np.mean(alone)) if alone else None,
        accuracy=float(likeliest(options) == choice.truth) if choice else None,
        chance=1 / len(options) if options else None,
        **gains,
    )


@dataclass(frozen=True, slots=True)
class Measure:
    """A ratio of sums over samples: `of` gives what a sample adds to both, or None where it adds nothing."""

    of: Callable[[WatchedSample], tuple[float, float] | None]
    after: Callable[[float], float] = float  # what becomes of the ratio
    slope: Callable[[float], float] = lambda value: 1.0  # of `after`, at its value: errors grow by it


def _mean(name: str) -> Measure:
    def of(sample: WatchedSample) -> tuple[float, float] | None:
        value = getattr(sample, name)
        return None if value is None else (value, 1.0)

    return Measure(of)


def _by_token(sample: WatchedSample) -> tuple[float, float]:
    return sample.nll, float(sample.n_labels)


MEASURES: dict[str, Measure] = {
    "loss": Measure(_by_token),
    "ppl": Measure(
        _by_token, lambda loss: exp(min(loss, 700.0)), slope=float
    ),  # a run that diverges is told, not ended
    **{name: _mean(name) for name in ("tpl", "accuracy", "chance", *CHANGED)},
}


def probes(step: int, samples: Sequence[WatchedSample]) -> list[Probe]:
    """Every measure over all samples and over those of each family; none where no sample has it."""
    found = []
    for family, mine in by_family(samples).items():
        for name in MEASURES:
            value, n = ratio(name, mine)
            if n:
                found.append(Probe(step=step, name=name, family=family, value=value, n=n))
    return found


def by_family(samples: Sequence[WatchedSample]) -> dict[str, list[WatchedSample]]:
    families = sorted({s.family for s in samples})
    return {ALL: list(samples), **{f: [s for s in samples if s.family == f] for f in families}}


def ratio(name: str, samples: Sequence[WatchedSample]) -> tuple[float, int]:
    """The measure, and how many samples have it."""
    measure = MEASURES[name]
    parts = [part for s in samples if (part := measure.of(s))]
    if not parts:
        return float("nan"), 0
    return measure.after(sum(top for top, _ in parts) / sum(under for _, under in parts)), len(parts)


def standard_error(name: str, samples: Sequence[WatchedSample], less: Sequence[WatchedSample] = ()) -> float | None:
    """Of a measure over clips, whose samples are alike; with `less`, of its difference from that of the same samples
    at another step, which is far smaller. None for a single clip."""
    clips: dict[str, float] = {}
    for sign, several in ((1.0, samples), (-1.0, less)):
        for clip_id, value in _pulls(name, several).items():
            clips[clip_id] = clips.get(clip_id, 0.0) + sign * value
    n = len(clips)
    return sqrt(n / (n - 1) * sum(v * v for v in clips.values())) if n > 1 else None


def _pulls(name: str, samples: Sequence[WatchedSample]) -> dict[str, float]:
    """How far each clip pulls the measure from its value, to first order."""
    measure = MEASURES[name]
    value, n = ratio(name, samples)
    if not n:
        return {}
    parts = [(s.clip_id, part) for s in samples if (part := measure.of(s))]
    under = sum(u for _, (_, u) in parts)
    middle = sum(t for _, (t, _) in parts) / under
    pulls: dict[str, float] = {}
    for clip_id, (t, u) in parts:
        pulls[clip_id] = pulls.get(clip_id, 0.0) + measure.slope(value) * (t - middle * u) / under
    return pulls
