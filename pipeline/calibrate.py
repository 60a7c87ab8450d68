"""From which size on is a gain of this scorer a gain? 95th percentiles over controls, by length of the text.

Controls are true or untrue by construction, on generated films that no scorer was trained on:
- tpl_key: texts that one frame gives away (who is there, what is shown at a frame), on films that move and frozen ones;
- order_gain: texts that all drawn orders leave true, on films that move: of a frozen film every order is the same;
- text_gain: texts of other films, and texts that the question gives away. A text of another film becomes less likely
  with the video, so its percentile alone is often negative: it says that a gain above zero is no accident. What the
  question gives away gains nothing but noise; it counts only where the scorer does take it from the question.
A bound never falls with the length: a sum over more tokens is not less noisy, the controls of long texts are milder.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from pipeline.held_out import Film, Text, frozen, held_out, texts
from schemas.sample import TargetScore
from stages.algorithms.asking import CAPTION_QUESTION
from stages.algorithms.domain import Domain, Look, look
from stages.algorithms.draws import draws
from stages.algorithms.thresholds import NUMERIC_FLOOR, Bounds, Thresholds
from stages.algorithms.tpl import SHUFFLED, TEXT, VIDEO, Context, contexts, nats
from stages.measure import Measures, measure
from stages.models.protocols import Scorer, Target

FILMS = 256
SEED = 20_001
PERCENTILE = 95
SHUFFLES = 4  # what the score job reads
LEAST = 50  # controls of each quantity in a bin: two or three of them lie above the percentile
EDGES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # tokens at which a bin may end
SIDES_PX = (96, 224)  # small and large sizes in which scorers look at frames; a look depends on it a little
ECHO = "Repeat this sentence: {}"
GIVEN_AWAY = 0.1  # nats a token without video: a text that costs more was not taken from the question


class TooFewControls(ValueError):
    """The films gave too few controls for a percentile; the message says how many of which."""


@dataclass(frozen=True, slots=True)
class Control:
    """One measurement on which the quantity should be no more than chance."""

    quantity: str  # "tpl_key" | "order_gain" | "text_gain" | "echo"
    n_tokens: int
    nats: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What goes into a scorer's card."""

    n_frames: int
    dtype: str  # of the scorer: thresholds hold for no other number format
    films: int
    thresholds: Thresholds
    domain: Domain

    def into(self, card: dict[str, Any]) -> dict[str, Any]:
        """The card with this calibration in the place of an older one."""
        return {
            **card,
            "n_frames": self.n_frames,
            "dtype": self.dtype,
            "calibration_films": self.films,
            "thresholds": asdict(self.thresholds),
            "domain": asdict(self.domain),
        }


def calibrate(
    scorer: Scorer,
    *,
    n_frames: int,
    films: int = FILMS,
    least: int = LEAST,
    done: Callable[[int], None] = lambda n: None,
) -> Calibration:
    """Reads `films` films with their controls; `done(n)` is called after each. Raises TooFewControls."""
    found: list[Control] = []
    looks: list[Look] = []
    film = held_out(SEED, 0, n_frames)
    for i in range(films):
        other = held_out(SEED, i + 1, n_frames)
        found += controls(scorer, film, other)
        looks += [look(_resized(film.frames_THWC, side)) for side in SIDES_PX]
        film = other
        done(i + 1)
    dtype = scorer.card(film.frames_THWC).dtype
    return Calibration(n_frames, dtype, films, thresholds_of(found, scorer.floor, least), domain_of(looks))


def controls(scorer: Scorer, film: Film, other: Film) -> Iterator[Control]:
    """All measurements on one film; `other` lends its texts where it has none of the film's subjects."""
    said = texts(film, draws(0, film.film_id))
    orders = [c.index for c in contexts(film.n_frames, shuffles=SHUFFLES, key=film.film_id) if c.kind == SHUFFLED]
    any_order = [film.moves and not any(text.changes(film, order) for order in orders) for text in said]
    read = [(t, stays) for t, stays in zip(said, any_order, strict=True) if stays or not t.needs_time]
    scores = _scores(scorer, film, film.frames_THWC, [t for t, _ in read], SHUFFLES)
    for (text, stays), score in zip(read, scores, strict=True):
        if not text.needs_time:
            yield Control("tpl_key", len(score.token_id), score.tpl_key)
        if stays and score.order_gain is not None:
            yield Control("order_gain", len(score.token_id), score.order_gain)
    yield from _frozen_controls(scorer, film, said)
    if not film.names() & other.names():
        yield from _strange_controls(scorer, film, other)


def thresholds_of(found: Sequence[Control], floor: float, least: int = LEAST) -> Thresholds:
    """Percentiles in bins of at least `least` controls of each quantity, shortest texts first, never under `floor`."""
    echo = [c.nats for c in found if c.quantity == "echo"]
    low: dict[str, float] = dict.fromkeys(_empty(), max(NUMERIC_FLOOR, floor))
    low["text_gain"] = max(low["text_gain"], _high(echo) if len(echo) >= least else 0.0)
    bins: list[Bounds] = []
    for end, values in _bins(found, least):
        low = {q: round(max(low[q], _high(values[q])), 6) for q in low}
        bins.append(Bounds(max_tokens=end, controls=min(map(len, values.values())), **low))
    return Thresholds(tuple(bins), SHUFFLES)


def domain_of(looks: Sequence[Look]) -> Domain:
    """Bounds that 99 of 100 films keep, each for itself, in any of the sizes that they were looked at in."""
    return Domain(
        min_background=round(float(np.percentile([k.background for k in looks], 1)), 4),
        max_spread=round(float(np.percentile([k.spread for k in looks], 99)), 4),
        min_colours=round(float(np.percentile([k.colours for k in looks], 1)), 4),
    )


def _frozen_controls(scorer: Scorer, film: Film, said: Sequence[Text]) -> Iterator[Control]:
    """What is shown at a frame, of the film that stands still at it; who is there, if that frame shows everybody."""
    (shown,) = [t for t in said if t.kind == "shown"]
    (frame,) = shown.needs[0]
    told = [t for t in said if t.kind == "shown" or (t.kind == "static" and all(frame in group for group in t.needs))]
    for score in _scores(scorer, film, frozen(film, frame), told, 0):
        yield Control("tpl_key", len(score.token_id), score.tpl_key)


def _strange_controls(scorer: Scorer, film: Film, other: Film) -> Iterator[Control]:
    """Texts of the other film, and one of them that the question gives away."""
    strange = [t.target(other) for t in texts(other, draws(0, other.film_id))]
    (caption,) = [t for t in strange if t.question == CAPTION_QUESTION]
    asked = [*strange, Target("echo", ECHO.format(caption.answer), caption.answer)]
    seen = [Context(VIDEO, None, tuple(range(film.n_frames))), Context(TEXT, None, ())]
    for target, reading in zip(asked, scorer.watch(film.frames_THWC, film.times).read(asked, seen), strict=True):
        video, text = (
            nats(target.target_id, reading.token_id, *pair) for pair in zip(seen, reading.logprob, strict=True)
        )
        n = len(reading.token_id)
        if target.target_id != "echo":
            yield Control("text_gain", n, text - video)
        elif text <= GIVEN_AWAY * n:
            yield Control("echo", n, text - video)


def _scores(
    scorer: Scorer, film: Film, frames_THWC: np.ndarray, said: Sequence[Text], shuffles: int
) -> tuple[TargetScore, ...]:
    return measure(
        scorer.watch(frames_THWC, film.times),
        [text.target(film) for text in said],
        n_frames=film.n_frames,
        key=film.film_id,
        thresholds=None,
        measures=Measures(shuffles=shuffles),
    )


def _bins(found: Sequence[Control], least: int) -> list[tuple[int | None, dict[str, list[float]]]]:
    """(longest, values by quantity): a bin ends at the first edge at which it has enough; the last one is open."""
    bins: list[tuple[int | None, dict[str, list[float]]]] = []
    values = _empty()
    last = 0
    for end in (*EDGES, None):
        for c in found:
            if c.quantity in values and c.n_tokens > last and (end is None or c.n_tokens <= end):
                values[c.quantity].append(c.nats)
        last = end or last
        if min(map(len, values.values())) >= least:
            bins.append((end, values))
            values = _empty()
    if not bins:
        few = ", ".join(f"{len(v)} of {q}" for q, v in values.items())
        raise TooFewControls(f"{least} controls of each quantity are needed, there are {few}: use more films")
    _, rest = bins[-1]
    return [*bins[:-1], (None, {q: [*rest[q], *(values[q] if bins[-1][0] is not None else [])] for q in rest})]


def _empty() -> dict[str, list[float]]:
    return {"text_gain": [], "tpl_key": [], "order_gain": []}


def _high(values: Sequence[float]) -> float:
    return float(np.percentile(values, PERCENTILE))


def _resized(frames_THWC: np.ndarray, side_px: int) -> np.ndarray:
    return np.stack([cv2.resize(f, (side_px, side_px), interpolation=cv2.INTER_AREA) for f in frames_THWC])
