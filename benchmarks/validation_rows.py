"""Texts about held-out generated films, true ones and those of other films, scored, with what is true of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pipeline.held_out import Film, Frames, Text, held_out, texts
from schemas.sample import TargetScore
from stages.algorithms.draws import draws
from stages.algorithms.tpl import REVERSED, SHUFFLED, contexts
from stages.measure import Measures, measure
from stages.models.protocols import Scorer, Target

SEED = 30_001  # neither trained on, nor examined, nor calibrated with
SHUFFLES = 4
BOXES = ("shown", "track")  # kinds of text that are mostly box coordinates


@dataclass(frozen=True, slots=True)
class OrderRead:
    """One text read with the frames in another order."""

    kind: str  # "shuffled" | "reversed"
    gain: float  # nats that the order costs
    changes: bool  # whether the text would not be said of the frames in that order


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate beside what the world says of it."""

    frames: Frames  # the certificate, none where the scorer gave none
    n_frames: int  # of the plan
    enough: bool  # whether the film that holds them tells what all frames tell
    fewest: tuple[Frames, ...]  # all smallest sets that are enough
    pictures: tuple[Frames, ...]  # groups of which single pictures need one each

    @property
    def recall(self) -> float:
        """Share of needed frames that are in it: of the smallest set that it has most of."""
        return _recall(self.frames, self.fewest)

    @property
    def chance(self) -> float:
        """What recall as many random frames have on average."""
        sets = combinations(range(self.n_frames), len(self.frames))
        return float(np.mean([_recall(frozenset(s), self.fewest) for s in sets]))

    @property
    def recall_of_pictures(self) -> float:
        """Share of the groups of single pictures that it has one of: not what a certificate is read as."""
        return sum(bool(self.frames & group) for group in self.pictures) / len(self.pictures)

    @property
    def least(self) -> int:
        return len(self.fewest[0])

    @property
    def surplus(self) -> int:
        """Frames beyond the fewest that are enough."""
        return len(self.frames) - self.least


@dataclass(frozen=True, slots=True)
class Row:
    """One text about one film."""

    film: int
    kind: str
    true: bool  # else it is another film's
    all_visible: bool  # of the film
    needs_time: bool  # by the world's truth: no single planned frame gives it
    score: TargetScore
    orders: tuple[OrderRead, ...]  # of true texts
    certified: Certified | None  # of true texts of which a certificate was asked


def rows(
    scorer: Scorer, *, films: int, n_frames: int, seed: int = SEED, done: Callable[[int], None] = lambda n: None
) -> Iterator[Row]:
    """The rows of `films` films; certificates of captions and timelines where needed frames are known.

    ValueError where `n_frames` are too many for that (Text.fewest).
    """
    film = held_out(seed, 0, n_frames)
    for i in range(films):
        other = held_out(seed, i + 1, n_frames)
        yield from _true_rows(scorer, i, film)
        if not film.names() & other.names():
            yield from _strange_rows(scorer, i, film, other)
        film = other
        done(i + 1)


def _recall(chosen: Frames, sets: Sequence[Frames]) -> float:
    return max(len(chosen & needed) / len(needed) for needed in sets)


def _true_rows(scorer: Scorer, i: int, film: Film) -> Iterator[Row]:
    said = texts(film, draws(0, film.film_id))
    certified = [text for text in said if _has_known_frames(film, text)]
    plain = [text for text in said if text not in certified]
    for group, measures in (
        (plain, Measures(shuffles=SHUFFLES)),
        (certified, Measures(shuffles=SHUFFLES, segments=True, certificate=True)),
    ):
        scores = _measured(scorer, film, [text.target(film) for text in group], measures) if group else ()
        for text, score in zip(group, scores, strict=True):
            orders = tuple(_orders(film, text, score))
            found = _certified(film, text, score) if text in certified else None
            yield Row(i, text.kind, True, film.all_visible, text.needs_time, score, orders, found)


def _certified(film: Film, text: Text, score: TargetScore) -> Certified:
    found = score.certificate or ()
    enough = bool(found) and text.enough(film, found)
    return Certified(frozenset(found), film.n_frames, enough, text.fewest(film), text.needs)


def _strange_rows(scorer: Scorer, i: int, film: Film, other: Film) -> Iterator[Row]:
    said = [t for t in texts(other, draws(0, other.film_id)) if t.kind not in BOXES]
    scores = _measured(scorer, film, [t.target(other) for t in said], Measures(shuffles=SHUFFLES))
    for text, score in zip(said, scores, strict=True):
        yield Row(i, text.kind, False, film.all_visible, False, score, (), None)


def _has_known_frames(film: Film, text: Text) -> bool:
    """Captions of ends, and captions and timelines of what appears or disappears and else stands still."""
    still = not film.moves and bool(film.scene.events)
    return text.kind == "ends" or (still and text.kind in ("appears", "dense"))


def _measured(scorer: Scorer, film: Film, targets: Sequence[Target], measures: Measures) -> tuple[TargetScore, ...]:
    return measure(
        scorer.watch(film.frames_THWC, film.times),
        targets,
        n_frames=film.n_frames,
        key=film.film_id,
        thresholds=scorer.thresholds,
        measures=measures,
    )


def _orders(film: Film, text: Text, score: TargetScore) -> Iterator[OrderRead]:
    index = {(c.kind, c.frame): c.index for c in contexts(film.n_frames, shuffles=SHUFFLES, key=film.film_id)}
    for read in score.contexts:
        if read.context in (SHUFFLED, REVERSED):
            gain = -sum(read.token_logprob) - score.nll_video
            yield OrderRead(read.context, gain, text.changes(film, index[read.context, read.frame]))
