"""Builds a data set from videos: `python jobs/build_utr_data.py --videos FOLDER --out OUT [--recipe R]`.

The plan below is the whole engine, top to bottom. Run it as it is, as `utr build`, or on a cluster with
`ray job submit --working-dir . -- python jobs/build_utr_data.py ...`.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import typer

if __name__ == "__main__":  # a script of a submitted job: its folder is jobs/, the packages lie beside it
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.console import Console
from jobs.recipe import Recipe, RecipeError
from pipeline.balance import Balanced, find_balance
from pipeline.build import (
    Build,
    Built,
    NotOurs,
    check_folder,
    check_sealed,
    finished_clips,
    finished_videos,
    funnel_of,
    selected_clips,
)
from pipeline.card import write_card
from pipeline.funnel import Funnel
from pipeline.ledger import Ledger
from pipeline.near_duplicates import Copies, find_copies
from pipeline.plan import Plan
from pipeline.publish import FinishedVideo, RunFacts, publish
from pipeline.report import write_report
from pipeline.run_local import run_local
from pipeline.sources import read_sources, videos_root
from pipeline.storage import Place
from pipeline.tally import Tally
from schemas.manifest import Manifest
from schemas.sample import SelectedClip
from schemas.video import Source, Video
from stages.caption_clip import CaptionClip
from stages.describe_tracks import DescribeTracks
from stages.media.frame_store import ClipFrames

PACKAGES = (
    "utr-engine",
    "torch",
    "transformers",
    "ray",
    "av",
    "scenedetect-headless",
    "trackers",
    "opencv-python",
    "numpy",
    "scipy",
    "pyarrow",
)


def probe_plan(recipe: Recipe, sources: list[Source]) -> Plan[Video]:
    """What the files are. Copies are dropped between this plan and the next, so no video is worked on twice."""
    return Plan.of(sources, Source).then(recipe.stage(recipe.probe))


def build_plan(recipe: Recipe, videos: list[Video]) -> Plan[SelectedClip]:
    """Videos to clips with proved and measured samples (DESIGN section 3)."""
    detected = (
        Plan.of(videos, Video)
        .then(recipe.stage(recipe.split))  # -> Clip, one a shot
        .then(recipe.stage(recipe.decode))  # -> DecodedClip: frames in the node's store
        .then(recipe.stage(recipe.filter))  # -> DecodedClip: its quality measured
        .then(recipe.stage(recipe.detect))  # -> DetectedClip: expert boxes
    )
    if recipe.track_masks:
        tracked = detected.then(recipe.stage(recipe.track_masks))  # -> TrackedClip, by masks
    else:
        tracked = detected.then(recipe.stage(recipe.track))  # -> TrackedClip
    if recipe.check:
        tracked = tracked.then(recipe.stage(recipe.check))  # -> TrackedClip: does a second detector see them, too?
    if recipe.name:
        tracked = tracked.then(recipe.stage(recipe.name))  # -> TrackedClip: names out of a vocabulary of your own
    described = tracked.then(DescribeTracks())  # -> DescribedClip: attribute trajectories
    captioned = described.then(CaptionClip())  # -> CaptionedClip
    if recipe.mllm:
        captioned = captioned.then(recipe.stage(recipe.mllm))  # -> ToldClip: a caption and doubts of a model elsewhere
    composed = (
        captioned.then(recipe.stage(recipe.score_captions))  # -> ScoredClip: where in time the information is
        .then(recipe.stage(recipe.compose))  # -> ComposedClip: bidirectional queries, programs, evidence
    )  # fmt: skip
    if recipe.reword:
        composed = composed.then(recipe.stage(recipe.reword))  # -> ComposedClip: some questions in other words
    return (
        composed.then(recipe.stage(recipe.score_samples)).then(  # -> MeasuredClip: TPL of the targets
            recipe.stage(recipe.select)
        )  # -> SelectedClip
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A sealed build."""

    manifest: Manifest
    funnel: Funnel
    failed_share: float  # of the sources


def build(
    videos: str, out: Place, recipe: Recipe, *, runner: str, resume: bool, pack_frames: bool, console: Console
) -> Result:
    """Reads, builds, seals and reports; raises the named errors of sources, recipe, folder, ledger and publishing."""
    started, clock = datetime.now(UTC), time.monotonic()
    check_folder(out)
    sources = read_sources(videos)
    packages = {name: version(name) for name in PACKAGES}
    work = Build(
        probe=lambda s: probe_plan(recipe, s),
        process=lambda v: build_plan(recipe, v),
        work_dir=out / "_work",
        packages=packages,
    )
    check_sealed(out, work)
    _check_workers(recipe, work)
    if resume and not (work.work_dir / "plan.json").exists():
        raise NotOurs(f"--resume: {out} holds no unfinished build; leave the flag out to begin one")
    console.plan(work.probe([]), work.process([]))
    with work.ledger.open() as ledger:
        built = _run(work, ledger, sources, recipe, runner, console)
        console.phase("seal")
        copies = find_copies(finished_clips(built), drop=recipe.filter.drop_near_duplicates)
        balanced = find_balance(selected_clips(built, copies), recipe.select.balance)
        funnel = funnel_of(built).merge(copies.funnel)
        facts = RunFacts(
            engine=f"utr-engine {version('utr-engine')}",
            plan_fingerprint=work.fingerprint,
            plan=work.lines,
            packages=packages,
            videos_root=str(videos_root(videos)),
            funnel=funnel,
            started=started.isoformat(timespec="seconds"),
            wall_s=round(time.monotonic() - clock, 1),
            runner=runner,
            workers=max(recipe.workers.values(), default=1),
        )
        manifest = _seal(out, built, copies, balanced, facts, recipe, pack_frames)
        return Result(manifest=manifest, funnel=funnel, failed_share=built.failed / len(sources))


def _check_workers(recipe: Recipe, work: Build) -> None:
    """Raises RecipeError where the recipe sizes a pool that neither plan has."""
    pools = [name for plan in (work.probe([]), work.process([])) for name, stage in plan.named if stage.keeps_state]
    unknown = sorted(set(recipe.workers) - set(pools))
    if unknown:
        raise RecipeError(f"workers: no pool is called {', '.join(unknown)}; known: {', '.join(pools)}")


def _run(
    work: Build, ledger: Ledger, sources: list[Source], recipe: Recipe, runner: str, console: Console
) -> Built:  # fmt: skip
    if runner == "local":
        with console.progress() as progress:
            return work.run(ledger, sources, run_local, progress)
    from pipeline.run_ray import local_ray, run_ray

    def on_ray(plan: Plan[Any]) -> Iterator[pa.Table]:
        names = {name for name, _ in plan.named}
        return run_ray(plan, workers={name: n for name, n in recipe.workers.items() if name in names})

    console.phase("ray")
    with local_ray(), console.progress() as progress:
        return work.run(ledger, sources, on_ray, progress)


def _seal(
    out: Place, built: Built, copies: Copies, balanced: Balanced | None, facts: RunFacts, recipe: Recipe,
    pack_frames: bool,
) -> Manifest:  # fmt: skip
    """Shards and manifest first, then what people look at: card and report."""
    tally = Tally(balanced=balanced)

    def counted() -> Iterator[FinishedVideo]:
        for video in finished_videos(built, copies, balanced):
            tally.add(video)
            yield video
        built.ledger.check()  # after it, what lies there is replaced

    decode = recipe.stage(recipe.decode)
    with ClipFrames(decode.store_dir, decode.store_gb) as frames:
        manifest = publish(out, counted(), facts, load_frames=frames.plan if pack_frames else None)
        write_card(out, manifest, tally)
        write_report(out, manifest, tally, frames.plan)
    return manifest


if __name__ == "__main__":
    from jobs.cli import build_command

    typer.run(build_command)
