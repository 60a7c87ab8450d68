"""The paper's claims in miniature: one base goes on learning from texts of different kinds, all else equal.

Arms of a seed share films, order, steps, target tokens and replayed conversations. What differs is the text.
docs/hacking.md says what is claimed, what is measured, and what came of it.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.shapes.hacking_base import grow_young
from pipeline.shapes.hacking_films import CHOSEN, N_FRAMES, Material, TaughtFilm, Text, held_out_films, material
from pipeline.shapes.hacking_measures import examined
from pipeline.shapes.hacking_schedule import Step, counted, schedule
from pipeline.shapes.hacking_train import Rate, Read, shown_of, train
from stages.models.checkpoint import EMBEDDED
from stages.models.load import load_scorer
from stages.models.onevision import OneVision
from stages.models.transformers_scorer import TransformersScorer

BASE = "base"
EARLY_EPOCHS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What the texts are of, and how much longer than the others it learns."""

    texts: str  # a set of TaughtFilm.texts, or one of CHOSEN from the pool
    says: str
    longer: int = 1


ARMS = {
    "course": Arm(texts="course", says="the base's own mixture, as before: what further training alone does"),
    "one_frame": Arm(texts="one_frame", says="texts that one frame answers"),
    "one_frame_2x": Arm(texts="one_frame", says="the same, twice the films, texts and steps", longer=2),
    "utr": Arm(texts="utr", says="the composer's tracks, records, places, times and timelines"),
    "tpl_top": Arm(texts="top", says="of a mixed pool the half of highest TPL, of equal length"),
    "tpl_random": Arm(texts="random", says="of the same pool a random half, of equal length"),
    "tpl_low": Arm(texts="low", says="of the same pool the half of lowest TPL, of equal length"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How large the experiment is. Steps follow: each film comes `epochs` times."""

    films: int  # of an arm; twice as many are made
    epochs: int
    films_a_step: int
    replayed_a_step: int
    tokens_a_film: int  # target tokens, of replayed films as of others
    early_steps: int  # of the base, after its last layer was made new
    held_out: int
    seeds: int
    rate: Rate

    @property
    def steps(self) -> int:
        return self.films * self.epochs // self.films_a_step

    @property
    def replayed(self) -> int:
        """Films of the replay, all arms: each comes `epochs` times, or twice as often to who learns twice as long."""
        return self.steps * self.replayed_a_step // self.epochs

    @property
    def early(self) -> int:
        """Films of the base: each comes EARLY_EPOCHS times, with other texts."""
        return self.early_steps * self.films_a_step // EARLY_EPOCHS


RATE = Rate(matrix=0.0035, other=1.5e-3)  # half of the course's: docs/hacking.md has the pilot
SETTINGS = {
    "smoke": Setting(
        films=4, epochs=1, films_a_step=2, replayed_a_step=1, tokens_a_film=24, early_steps=2, held_out=2, seeds=1,
        rate=RATE,
    ),
    "small": Setting(
        films=256, epochs=3, films_a_step=8, replayed_a_step=2, tokens_a_film=64, early_steps=200, held_out=64, seeds=3,
        rate=RATE,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of a run: what is finished lies there and is not done again."""

    out: Path
    name: str  # of the setting

    @property
    def setting(self) -> Setting:
        return SETTINGS[self.name]

    def material(self, seed: int) -> Path:
        return self.out / f"films-{self.name}-{seed}.pickle"

    def base(self, seed: int) -> Path:
        return self.out / f"base-{self.name}-{seed}"

    def result(self, arm: str, seed: int) -> Path:
        return self.out / f"{self.name}-{arm}-{seed}.json"

    def prepared(self, seed: int) -> Path:
        return self.out / f"{self.name}-prepared-{seed}.json"

    def is_prepared(self, seed: int) -> bool:
        return self.prepared(seed).exists() and self.material(seed).exists()


def prepare(place: Place, seed: int) -> None:
    """Makes a seed's films, chooses from its pool, and makes the base that its arms start from."""
    start, setting = _clocks(), place.setting
    torch.set_num_threads(1)
    scorer = OneVision.load(str(EMBEDDED))
    made = material(
        scorer, load_scorer("embedded"),
        films=2 * setting.films, pooled=setting.films, replayed=setting.replayed, early=setting.early, seed=seed,
    )  # fmt: skip
    made.save(place.material(seed))
    losses = grow_young(
        scorer, made.early, steps=setting.early_steps, films_a_step=setting.films_a_step, seed=seed
    )  # fmt: skip
    scorer.save(place.base(seed))
    found = {"seed": seed, "account": made.account, "loss": _rounded(losses), **_spent(start)}
    _write(place.prepared(seed), found)


def run(place: Place, arm: str, seed: int) -> None:
    """Trains an arm, unless it is the base, and measures it on the held-out films."""
    start = _clocks()
    torch.set_num_threads(1)
    scorer = OneVision.load(str(place.base(seed)))
    facts = {} if arm == BASE else learn(scorer, Material.load(place.material(seed)), arm, place.setting, seed)
    learned = _spent(start)
    films = held_out_films(place.setting.held_out)
    sums = examined(TransformersScorer(scorer, None, arm), films)
    result = {"arm": arm, "seed": seed, **facts, "training": learned, **_spent(start), "sums": sums}
    _write(place.result(arm, seed), result)


def learn(scorer: OneVision, made: Material, arm: str, setting: Setting, seed: int) -> dict[str, Any]:
    """Trains the scorer as an arm does and tells what it read."""
    losses: list[float] = []
    own, replayed = plans(made, arm, setting, seed)
    texts = texts_of(made, ARMS[arm].texts)
    replay = [f.texts["replay"] for f in made.replay]
    steps = [
        [*_reads(made.films, texts, mine), *_reads(made.replay, replay, again, (seed, k))]
        for k, (mine, again) in enumerate(zip(own, replayed, strict=True))
    ]

    train(scorer, steps, setting.rate, lambda step, loss: losses.append(loss))
    return {
        "steps": len(steps),
        "films": sum(map(len, steps)),
        "texts": sum(len(read.branches) for step in steps for read in step),
        "tokens": counted(own, _tokens(texts)),
        "replayed_tokens": counted(replayed, _tokens(replay)),
        "loss": _rounded(losses),
    }


def plans(made: Material, arm: str, setting: Setting, seed: int) -> tuple[list[Step], list[Step]]:
    """The steps of an arm's own films and those of the replay; both for as many steps."""
    longer = ARMS[arm].longer
    steps, per_film = longer * setting.steps, setting.tokens_a_film
    texts = texts_of(made, ARMS[arm].texts)[: longer * setting.films]
    mine, again = setting.films_a_step, setting.replayed_a_step
    replay = [f.texts["replay"] for f in made.replay]
    return (
        schedule(_tokens(texts), steps=steps, films_a_step=mine, tokens_a_step=mine * per_film, seed=seed),
        schedule(_tokens(replay), steps=steps, films_a_step=again, tokens_a_step=again * per_film, seed=seed),
    )


def texts_of(made: Material, name: str) -> list[tuple[Text, ...]]:
    """Each film's texts of a set; of a half of the pool those that were chosen."""
    if name not in CHOSEN:
        return [film.texts[name] for film in made.films]
    chosen = made.chosen[name]
    return [tuple(f.texts["pool"][i] for i in chosen.get(k, ())) for k, f in enumerate(made.films[: made.pooled])]


def _reads(
    films: Sequence[TaughtFilm], texts: Sequence[Sequence[Text]], step: Step, replayed: tuple[int, int] | None = None
) -> list[Read]:
    """What a step reads of its films; replayed ones, of (seed, step), are shown as in the course."""
    found = []
    for film, chosen in step:
        index = tuple(range(N_FRAMES))
        if replayed:
            index = shown_of(N_FRAMES, replayed[0], f"shown/{replayed[1]}/{film}")
        found.append(Read(films[film], index, tuple(texts[film][i].branch for i in chosen)))
    return found


def _tokens(texts: Sequence[Sequence[Text]]) -> list[list[int]]:
    return [[text.branch.n_target for text in own] for own in texts]


def _rounded(losses: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in losses]


def _clocks() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def _spent(start: tuple[float, float]) -> dict[str, float]:
    cpu, wall = (now - before for now, before in zip(_clocks(), start, strict=True))
    return {"cpu_s": round(cpu, 1), "wall_s": round(wall, 1)}


def _write(path: Path, value: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value) + "\n")
    part.rename(path)
