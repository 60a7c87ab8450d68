"""The films of one seed with all texts that its arms learn, and which texts of the pool TPL chooses.

Made once a seed and kept in a file, so that arms of a seed see the same films, made by none of them.
"""

import pickle
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.held_out import Film, held_out
from pipeline.shapes.hacking_texts import one_frame, pool, replay, utr
from pipeline.shapes.lessons import Conversation, Lesson, lesson
from stages.algorithms.describe import STILL
from stages.algorithms.draws import draws
from stages.algorithms.matching import Candidate, choose
from stages.algorithms.thresholds import UNGROUNDED
from stages.algorithms.world import World, random_world
from stages.measure import Measures, measure
from stages.models.onevision import OneVision
from stages.models.prefix import Branch
from stages.models.protocols import Scorer, Target

TAUGHT_SEED, HELD_OUT_SEED = 40_001, 50_001  # neither the course's nor those of examination, calibration, validation
N_FRAMES = 8
SUBJECTS = 2  # with one, colour and place are easy, and nothing in the film can be mistaken for it
SHARE = 0.5  # of the pool that is chosen: top and low are then disjoint
CHOSEN = ("top", "random", "low")
ONE_FRAME = ("static", "presence", "count", "picture", "boxes")


@dataclass(frozen=True, slots=True)
class Text:
    """A conversation as the model reads it."""

    kind: str
    branch: Branch


@dataclass(frozen=True, slots=True)
class TaughtFilm:
    """A film and its texts by set: "course", "one_frame", "utr", "pool", "replay"."""

    frames_zlib: bytes
    side_px: int
    times: tuple[str, ...]
    texts: dict[str, tuple[Text, ...]]

    @property
    def frames_THWC(self) -> np.ndarray:
        flat = np.frombuffer(zlib.decompress(self.frames_zlib), np.uint8)
        return flat.reshape(-1, self.side_px, self.side_px, 3)


@dataclass(frozen=True, slots=True)
class Material:
    """`early` are the base's; the pool is of the first `pooled` films; `chosen`: by set, its texts by film."""

    films: tuple[TaughtFilm, ...]
    replay: tuple[TaughtFilm, ...]
    early: tuple[TaughtFilm, ...]
    pooled: int
    chosen: dict[str, dict[int, tuple[int, ...]]]
    account: dict[str, dict[str, float]]

    def save(self, path: Path) -> None:
        part = path.with_suffix(".part")
        part.write_bytes(pickle.dumps(self))
        part.rename(path)

    @staticmethod
    def load(path: Path) -> "Material":
        return pickle.loads(path.read_bytes())


def material(
    scorer: OneVision, judge: Scorer, *, films: int, pooled: int, replayed: int, early: int, seed: int
) -> Material:
    """`films` films of which the first `pooled` make the pool that `judge` reads; and `replayed` and `early` others."""
    taught: list[TaughtFilm] = []
    pools: list[tuple[Lesson, list[Conversation]]] = []
    for i in range(films + replayed + early):
        item = _lesson(seed, i, scorer.pixel.side_px)
        still = one_frame(item.scene, draws(seed, f"one-frame/{i}"))
        taught.append(_taught(scorer, item, still))
        if i < pooled:
            pools.append((item, pool(item, still)))
    chosen, account = select(pools, judge, seed)
    own, again, first = taught[:films], taught[films : films + replayed], taught[films + replayed :]
    return Material(tuple(own), tuple(again), tuple(first), pooled, chosen, account)


def select(
    pools: Sequence[tuple[Lesson, Sequence[Conversation]]], judge: Scorer, seed: int
) -> tuple[dict[str, dict[int, tuple[int, ...]]], dict[str, dict[str, float]]]:
    """Top, random and low half as `utr select` takes them: by tpl_key a token, of equal length, nothing ungrounded."""
    candidates: list[Candidate] = []
    kinds: dict[str, str] = {}
    for i, (item, said) in enumerate(pools):
        targets = [Target(f"{i}/{k}", c.question, c.answer) for k, c in enumerate(said)]
        scores = measure(
            judge.watch(item.frames_THWC, item.times), targets, n_frames=len(item.times), key="",
            thresholds=judge.thresholds, measures=Measures(), floor=judge.floor,
        )  # fmt: skip
        for score, c in zip(scores, said, strict=True):
            kinds[score.target_id] = c.kind
            if score.verdict != UNGROUNDED:
                tokens = len(score.token_id)
                candidates.append(Candidate(score.target_id, "all", "question", tokens, score.tpl_key_per_token))
    choice = choose(candidates, SHARE, seed=seed)
    by_key = {c.key: c for c in candidates}
    keys = dict(zip(CHOSEN, (choice.top, choice.random, choice.low), strict=True))
    account = {name: _account([by_key[k] for k in own], kinds) for name, own in keys.items()}
    account["pool"] = _account(candidates, kinds) | {"ungrounded": len(kinds) - len(candidates)}
    return {name: _by_film(own) for name, own in keys.items()}, account


def held_out_films(count: int) -> list[Film]:
    """Films of two subjects that are seen throughout, of which one moves first one way and then another.

    That is the harder part of what the course shows: what is easy would leave no room above the base.
    """
    found: list[Film] = []
    number = 0
    while len(found) < count:
        if _turns(random_world(np.random.default_rng([HELD_OUT_SEED, number]))):  # else it costs no film
            film = held_out(HELD_OUT_SEED, number, N_FRAMES)
            turns = any(len(steps) == 2 and STILL not in steps for steps in map(film.scene.phases, film.scene.tracks))
            if len(film.scene.tracks) == SUBJECTS and film.all_visible and turns and not film.scene.has_ends:
                found.append(film)
        number += 1
    return found


def _lesson(seed: int, i: int, side_px: int) -> Lesson:
    """Film i of a seed, of two subjects; `lesson` draws its world first, so a world that is refused costs no film."""
    for again in range(1000):
        key = [TAUGHT_SEED, seed, i, again]
        if len(random_world(np.random.default_rng(key)).shapes) != SUBJECTS:
            continue
        item = lesson(np.random.default_rng(key), side_px=side_px, n_frames=N_FRAMES)
        if len(item.scene.tracks) == SUBJECTS:
            return item
    raise RuntimeError(f"film {i} of seed {seed}: 1000 worlds without {SUBJECTS} subjects")


def _turns(world: World) -> bool:
    return len(world.shapes) == SUBJECTS and any(len(s.legs) == 2 and s.legs[1].word != STILL for s in world.shapes)


def _taught(scorer: OneVision, item: Lesson, still: Sequence[Conversation]) -> TaughtFilm:
    """`still` are the film's texts that one frame answers."""
    said = [*item.conversations, *still]
    read = {c: Text(c.kind, scorer.branch(c.question, c.answer, end=True)) for c in said}
    sets = {
        "course": item.conversations, "one_frame": still, "utr": utr(item), "pool": pool(item, still),
        "replay": replay(item),
    }  # fmt: skip
    texts = {name: tuple(read[c] for c in own) for name, own in sets.items()}
    packed = zlib.compress(item.frames_THWC.tobytes(), 1)
    return TaughtFilm(packed, item.frames_THWC.shape[1], tuple(item.times), texts)


def _by_film(keys: Sequence[str]) -> dict[int, tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {}
    for film, text in (map(int, key.split("/")) for key in keys):
        found[film] = (*found.get(film, ()), text)
    return found


def _account(chosen: Sequence[Candidate], kinds: dict[str, str]) -> dict[str, float]:
    """Texts, tokens, TPL, and the share of each kind; `one_frame` is the share of texts that one frame answers."""
    n = len(chosen)
    by_kind = Counter(kinds[c.key] for c in chosen)
    return {
        "texts": n,
        "tokens": sum(c.n_tokens for c in chosen),
        "tpl_key_per_token": float(np.mean([c.value for c in chosen])),
        "one_frame": sum(by_kind[kind] for kind in ONE_FRAME) / n,
        **{f"share of {kind}": count / n for kind, count in sorted(by_kind.items())},
    }
