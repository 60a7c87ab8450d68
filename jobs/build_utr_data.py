"""Builds a data set from videos: `python jobs/build_utr_data.py --videos FOLDER --out OUT [--recipe R]`.

The plan below is the whole engine, top to bottom. Run it as it is, as `utr build`, or on a cluster with
`ray job submit --working-dir . -- python jobs/build_utr_data.py ...`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":  # a script of a submitted job: its folder is jobs/, the packages lie beside it
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.console import Console
from jobs.recipe import Recipe, load_recipe
from pipeline.build import Build, Built, Runner, check_folder, funnel_of
from pipeline.ledger import Ledger
from pipeline.plan import Plan
from pipeline.publish import FinishedVideo, RunFacts, publish
from pipeline.run_local import run_local
from pipeline.sources import read_sources
from schemas.manifest import Manifest
from schemas.sample import SelectedClip
from schemas.video import Source, Video
from stages.caption_clip import CaptionClip
from stages.describe_tracks import DescribeTracks


def probe_plan(recipe: Recipe, sources: list[Source]) -> Plan[Video]:
    """What the files are. Copies are dropped between this plan and the next, so no video is worked on twice."""
    return Plan.of(sources, Source).then(recipe.stage(recipe.probe))


def build_plan(recipe: Recipe, videos: list[Video]) -> Plan[SelectedClip]:
    """Videos to clips with proved and measured samples (DESIGN section 3)."""
    return (
        Plan.of(videos, Video)
        .then(recipe.stage(recipe.split))  # -> Clip, one a shot
        .then(recipe.stage(recipe.decode))  # -> DecodedClip: frames in the node's store
        .then(recipe.stage(recipe.detect))  # -> DetectedClip: expert boxes
        .then(recipe.stage(recipe.track))  # -> TrackedClip
        .then(DescribeTracks())  # -> DescribedClip: attribute trajectories
        .then(CaptionClip())  # -> CaptionedClip
        .then(recipe.stage(recipe.score_captions))  # -> ScoredClip: where in time the information is
        .then(recipe.stage(recipe.compose))  # -> ComposedClip: bidirectional queries, programs, evidence
        .then(recipe.stage(recipe.score_samples))  # -> MeasuredClip: TPL of the targets
        .then(recipe.stage(recipe.select))  # -> SelectedClip
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A sealed build."""

    manifest: Manifest
    built: Built
    failed_share: float  # of the videos


def build(
    videos: str, out: Path, recipe: Recipe, *, runner: str, resume: bool, console: Console, num_cpus: int | None = None
) -> Result:
    """Reads, builds and seals; raises the named errors of sources, recipe, ledger and folder."""
    check_folder(out)
    sources = read_sources(videos)
    work = Build(
        probe=lambda s: probe_plan(recipe, s), process=lambda v: build_plan(recipe, v), work_dir=out / "_work"
    )
    if resume and not (work.work_dir / "plan.json").exists():
        raise FileNotFoundError(f"--resume: {out} holds no unfinished build; leave the flag out to begin one")
    console.plan(work.probe([]), work.process([]))
    with work.ledger.open() as ledger:
        built = _run(work, ledger, sources, recipe, runner, num_cpus, console)
        console.phase("seal")
        manifest = publish(out, _read(built), _facts(work, built, videos, recipe))
    return Result(manifest=manifest, built=built, failed_share=_failed_share(built, len(sources)))


def _run(
    work: Build, ledger: Ledger, sources: list[Source], recipe: Recipe, runner: str, num_cpus: int | None,
    console: Console,
) -> Built:  # fmt: skip
    if runner == "local":
        with console.progress() as progress:
            return work.run(ledger, sources, run_local, progress)
    from pipeline.run_ray import local_ray, run_ray

    console.phase("ray")
    with local_ray(num_cpus), console.progress() as progress:
        known = {name for name, stage in work.process([]).named if stage.keeps_state}
        pools = {name: n for name, n in recipe.workers.items() if name in known}
        on_ray: Runner = lambda plan: run_ray(  # noqa: E731
            plan, workers={n: k for n, k in pools.items() if n in {name for name, _ in plan.named}}
        )
        return work.run(ledger, sources, on_ray, progress)
