"""The vLLM scorer inside a Ray Data actor: the same rows as in process, also where its engine is killed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import psutil
import pytest

from pipeline.plan import Plan
from pipeline.run_ray import local_ray, run_ray
from schemas.row import Float32, Row
from stages.algorithms.tpl import contexts
from stages.base import Resources, Stage
from stages.models.protocols import Target
from stages.models.vllm_engine import EngineUnusable
from stages.models.vllm_load import load_vllm_scorer
from stages.models.vllm_scorer import VllmScorer

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default"), pytest.mark.timeout(900)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask(Row):
    uri: str
    seed: int

    @property
    def key(self) -> str:
        return self.uri

    @property
    def source_uri(self) -> str:
        return self.uri


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Ask):
    logprob: tuple[Float32, ...]
    engine_pids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Tell(Stage[Ask, Told, VllmScorer]):
    """Reads noise. The clip "kill" ends the engine first."""

    scorer: str

    resources: ClassVar[Resources] = Resources(cpus=1, memory_gb=2)
    fatal = (EngineUnusable,)

    def open(self) -> VllmScorer:
        return load_vllm_scorer(self.scorer)

    def close(self, scorer: VllmScorer) -> None:
        scorer.close()

    def process(self, scorer: VllmScorer, rows: Sequence[Ask], /) -> list[Told]:
        return [self._told(scorer, row) for row in rows]

    def _told(self, scorer: VllmScorer, row: Ask) -> Told:
        mine = [p for p in psutil.Process().children(recursive=True) if "VLLM" in " ".join(p.cmdline())]
        if "kill" in row.uri:
            for process in mine:
                process.kill()
        frames = np.random.default_rng(row.seed).integers(0, 256, (4, 60, 90, 3), dtype=np.uint8)
        watched = scorer.watch(frames, [f"{0.3 * k:.2f} s" for k in range(4)])
        (reading,) = watched.read([Target("t", "What?", "A red circle.")], contexts(4, shuffles=1, key=str(row.seed)))
        values = tuple(Float32(float(x)) for v in reading.logprob for x in v)
        return row.extend(Told, logprob=values, engine_pids=tuple(p.pid for p in mine))


def test_rows_in_an_actor_are_rows_in_process(onevision: Path) -> None:
    asked = [Ask(uri=f"{name}.mp4", seed=i) for i, name in enumerate(("a", "b", "kill", "c"))]
    plan = Plan.of(asked, Ask).then(Tell(scorer=str(onevision)))
    with local_ray(num_cpus=2):
        found = {row.uri: row for block in run_ray(plan) for row in Told.from_arrow(block)}
    assert set(found) == {row.uri for row in asked}
    pids = {pid for row in found.values() for pid in row.engine_pids}
    assert len(pids) == 4  # two engines, of two processes each
    _, left = psutil.wait_procs([psutil.Process(p) for p in pids if psutil.pid_exists(p)], timeout=20)
    assert not left
    stage = Tell(scorer=str(onevision))
    here = stage.open()
    try:
        same = {row.seed: row.logprob for row in stage.process(here, [Ask(uri=f"{i}.mp4", seed=i) for i in range(4)])}
        assert {row.seed: row.logprob for row in found.values()} == same
    finally:
        here.close()
