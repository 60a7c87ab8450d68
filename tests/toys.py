"""A small plan with five causes of loss and two fan-outs, whose results are known without running it."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.plan import Plan
from schemas.outcome import Reason, Skip
from schemas.row import Row
from stages.base import Resources, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Film(Row):
    uri: str
    n_scenes: int

    @property
    def key(self) -> str:
        return self.uri

    @property
    def source_uri(self) -> str:
        return self.uri


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene(Film):
    scene: int

    @property
    def key(self) -> str:
        return f"{self.uri}@{self.scene}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat(Scene):
    beat: int

    @property
    def key(self) -> str:
        return f"{self.uri}@{self.scene}.{self.beat}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedBeat(Beat):
    rating: float
    worker_pid: int | None


class EngineDead(Exception):
    """The state cannot be used again."""


@dataclass(frozen=True, kw_only=True)
class CutScenes(Stage[Film, Scene, None]):
    """Losses 1 and 2: a film without scenes is skipped, a corrupt one raises."""

    def process(self, _: None, films: Sequence[Film], /) -> list[list[Scene] | Skip]:
        return [self._cut(film) for film in films]

    def _cut(self, film: Film) -> list[Scene] | Skip:
        if "corrupt" in film.uri:
            raise OSError(f"cannot read {film.uri}")
        if film.n_scenes == 0:
            return Skip(Reason.TOO_SHORT, "0 scenes")
        return [film.extend(Scene, scene=i) for i in range(film.n_scenes)]


@dataclass(frozen=True, kw_only=True)
class CutBeats(Stage[Scene, Beat, None]):
    """Losses 3 and 4: each third beat is skipped inside its list, scene 5 gives an empty list."""

    beats: int = 3

    def process(self, _: None, scenes: Sequence[Scene], /) -> list[list[Beat | Skip]]:  # type: ignore[override]
        return [[] if scene.scene == 5 else [self._beat(scene, i) for i in range(self.beats)] for scene in scenes]

    def _beat(self, scene: Scene, beat: int) -> Beat | Skip:
        return Skip(Reason.NOTHING_TO_SAY, f"beat {beat}") if beat == 2 else scene.extend(Beat, beat=beat)


@dataclass(frozen=True, kw_only=True)
class RateBeats(Stage[Beat, RatedBeat, dict[str, int]]):
    """Loss 5: scene 1 is poison for its whole batch. The film "dead" ends the worker."""

    scale: float = 0.5
    with_pid: bool = False
    delay_s: float = 0.0

    resources = Resources(cpus=1, memory_gb=0.1, batch_rows=4)
    fatal = (EngineDead,)
    operational = frozenset({"delay_s"})

    def open(self) -> dict[str, int]:
        return {"opened_by": os.getpid()}

    def process(self, state: dict[str, int], beats: Sequence[Beat], /) -> list[RatedBeat | Skip]:
        time.sleep(self.delay_s)
        if any(beat.uri == "dead.mp4" for beat in beats):
            raise EngineDead("no engine")
        if any(beat.scene == 1 for beat in beats):
            raise ValueError("bad logits")
        pid = state["opened_by"] if self.with_pid else None
        return [b.extend(RatedBeat, rating=self.scale * (b.scene + b.beat), worker_pid=pid) for b in beats]


@dataclass(frozen=True, kw_only=True)
class Keep(Stage[RatedBeat, RatedBeat, dict[str, int]]):
    """Passes rows on, but opens something: a worker that lives on."""

    def open(self) -> dict[str, int]:
        return {"seen": 0}

    def process(self, state: dict[str, int], beats: Sequence[RatedBeat], /) -> Sequence[RatedBeat]:
        state["seen"] += len(beats)
        return beats


@dataclass(frozen=True, kw_only=True)
class Pass(Stage[RatedBeat, RatedBeat, None]):
    """Passes rows on."""

    def process(self, _: None, beats: Sequence[RatedBeat], /) -> Sequence[RatedBeat]:
        return beats


FILMS = [
    Film(uri="a.mp4", n_scenes=3),
    Film(uri="b.mp4", n_scenes=0),
    Film(uri="corrupt.mp4", n_scenes=4),
    Film(uri="d.mp4", n_scenes=7),
    Film(uri="e.mp4", n_scenes=1),
]
N_ROWS = 2 * 2 + 2 * 5 + 2  # two beats a scene that is neither poison (1) nor empty (5)
LOSSES = {
    ("CutScenes", "skip", "too_short"): 1,
    ("CutScenes", "failure", "OSError"): 1,
    ("CutBeats", "skip", "nothing_to_say"): 3 + 6 + 1,
    ("CutBeats", "failure", "TypeError"): 1,
    ("RateBeats", "failure", "ValueError"): 2 * 2,
}


def plan(films: list[Film] | None = None, **rate: Any) -> Plan[RatedBeat]:
    return Plan.of(FILMS if films is None else films, Film).then(CutScenes()).then(CutBeats()).then(RateBeats(**rate))


def long_plan() -> Plan[RatedBeat]:
    """Ten stages, six of which keep state."""
    return plan().then(Keep()).then(Keep()).then(Pass()).then(Keep()).then(Keep()).then(Pass()).then(Keep())
