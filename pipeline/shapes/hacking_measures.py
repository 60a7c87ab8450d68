"""What a model does on held-out films: choices and likelihoods, with all frames and with films that were tampered with.

Tampered films are in distribution: other orders and copies of real frames, headed frame1 to frame8 as any film. Blank
frames and attention maps are not used: both mislead (a model that ignores time attends to all frames alike).
Every figure is a ratio of two sums over films, so that films can be drawn again.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.held_out import Film
from pipeline.shapes.examine import likeliest
from pipeline.shapes.hacking_choices import TEMPORAL, Choice, choices
from stages.algorithms.asking import CAPTION_QUESTION, TIMELINE_QUESTION
from stages.algorithms.draws import draws
from stages.algorithms.scene import global_caption, timeline
from stages.algorithms.tpl import FRAME, HELD, TEXT, VIDEO, Context, contexts, target_score
from stages.models.protocols import Reading, Scorer, Target, Watched

ALL, NONE = "all", "none"
CHOSEN_FROM = (ALL, NONE, "shuffled", "held")  # a film of which each second frame is a copy changes no choice (pilot)
TAMPERED = ("shuffled", "held", "neighbour")
SHOWN = (ALL, NONE, *TAMPERED)
TOLD = ("caption", "timeline", "where", "asked")  # kinds of text of which TPL is measured, beside "static"
Sums = dict[str, list[tuple[float, float]]]  # figure -> by film, what is summed and what it is divided by


def examined(scorer: Scorer, films: Sequence[Film]) -> Sums:
    """All figures by film: "right/SKILL/SHOWN", "chance/SKILL", "nll/KIND/SHOWN", "tpl/KIND" and "tpl_key/KIND"."""
    rows = [_film(scorer, film) for film in films]
    names = sorted({name for row in rows for name in row})
    return {name: [row.get(name, (0.0, 0.0)) for row in rows] for name in names}


def shown(film: Film, rng: np.random.Generator) -> dict[str, Context]:
    """The contexts of a film: all frames, none, a random order, one frame held throughout, each second one a copy."""
    n = film.n_frames
    every = tuple(range(n))
    order = tuple(int(i) for i in rng.permutation(n))
    while order == every:
        order = tuple(int(i) for i in rng.permutation(n))
    return {
        ALL: Context(VIDEO, None, every),
        NONE: Context(TEXT, None, ()),
        "shuffled": Context("shuffled", 0, order),
        "held": Context(HELD, 0, (int(rng.integers(n)),) * n),
        "neighbour": Context(HELD, 1, tuple(k - k % 2 for k in every)),
    }


def _film(scorer: Scorer, film: Film) -> dict[str, tuple[float, float]]:
    rng = draws(0, film.film_id)
    asked, seen = choices(film, rng), shown(film, rng)
    watched = scorer.watch(film.frames_THWC, film.times)
    found: defaultdict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))
    timely = [c for c in asked if c.skill in TEMPORAL]
    for own, ways in ((timely, CHOSEN_FROM), ([c for c in asked if c.skill not in TEMPORAL], (ALL, NONE))):
        for choice, sums in zip(own, _read(watched, own, [seen[how] for how in ways]), strict=True):
            found[f"chance/{choice.skill}"] += 1 / len(choice.answers), 1
            for how, logprob in zip(ways, sums.T, strict=True):
                found[f"right/{choice.skill}/{how}"] += likeliest(choice.answers, list(logprob)) == choice.truth, 1
    for name, value in _texts(watched, film, asked, seen):
        found[name] += value
    return {name: (float(a), float(b)) for name, (a, b) in found.items()}


def _read(watched: Watched, asked: Sequence[Choice], seen: Sequence[Context]) -> list[np.ndarray]:
    """Log-probability of each answer in each context, a choice an array (answers, contexts)."""
    targets = [Target(c.skill, *text) for c in asked for text in zip(c.questions, c.answers, strict=True)]
    if not asked:
        return []
    values = [[float(v.sum()) for v in reading.logprob] for reading in watched.read(targets, seen)]
    ends = np.cumsum([len(c.answers) for c in asked])
    return np.split(np.array(values), ends[:-1])


def _texts(
    watched: Watched, film: Film, asked: Sequence[Choice], seen: Mapping[str, Context]
) -> list[tuple[str, tuple[float, float]]]:
    """Nats and tokens of true texts: in each context, and what single frames lack."""
    said = [
        Target("caption", CAPTION_QUESTION, global_caption(film.scene)),
        Target("timeline", TIMELINE_QUESTION, timeline(film.scene)),
    ]
    kinds = ("where", "asked", "static")
    said += [Target(c.skill, c.questions[c.truth], c.answers[c.truth]) for c in asked if c.skill in kinds]
    alone = [c for c in contexts(film.n_frames, shuffles=0, key="") if c.kind == FRAME]
    read = [*seen.values(), *alone]
    found: list[tuple[str, tuple[float, float]]] = []
    for target, reading in zip(said, watched.read(said, read), strict=True):
        n = len(reading.token_id)
        by_context = dict(zip(read, reading.logprob, strict=True))
        found += [(f"nll/{target.target_id}/{how}", (-float(by_context[c].sum()), n)) for how, c in seen.items()]
        found += _tpl(target, reading, {c: by_context[c] for c in (seen[ALL], seen[NONE], *alone)})
    return found


def _tpl(target: Target, reading: Reading, read: Mapping[Context, np.ndarray]) -> list[tuple[str, tuple[float, float]]]:
    score = target_score(target.target_id, reading.token_id, read, None)
    n = len(reading.token_id)
    return [(f"tpl/{target.target_id}", (score.tpl, n)), (f"tpl_key/{target.target_id}", (score.tpl_key, n))]
