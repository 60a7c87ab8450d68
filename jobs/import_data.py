"""Brings other people's sets into the shard schema: `utr import --format llava INPUT --videos ROOT --out DIR`.

A video gets a plan of frames that are evenly spread over it, an image becomes a clip of one frame. Nothing is scored,
and no frame but a video's first is decoded.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from jobs.console import Console
from jobs.pairs import now, open_folder, run_facts, runner_of
from jobs.select_pairs import sample_groups
from pipeline.formats.read import PairInput
from pipeline.funnel import Funnel
from pipeline.given_samples import unscored_samples
from pipeline.ledger import Ledger
from pipeline.pair_run import PairRun, ledger_key, pair_outcomes, work_funnel
from pipeline.plan import Plan
from pipeline.publish import manifest_of
from pipeline.score_publish import Ended, rejected_outcomes
from pipeline.seal_tables import Rows, seal
from schemas.manifest import Manifest, Shard
from schemas.outcome import Outcome
from schemas.pair import PairClip, PairSource
from schemas.sample import PublishedSample
from stages.plan_images import PlanImages
from stages.plan_pairs import PlanPairs

PACKAGES = ("utr-engine", "av", "pillow", "numpy", "pyarrow")
TABLES = {"data": PublishedSample, "failures": Outcome}


@dataclass(frozen=True, slots=True)
class Imported:
    """A sealed import, counted in texts: assistant turns."""

    manifest: Manifest
    funnel: Funnel
    samples: int
    rows: int
    skipped: int
    failed: int


def import_data(
    given: PairInput, out: Path, *, frames: int, runner: str, resume: bool, console: Console
) -> Imported:  # fmt: skip
    """Reads, seals; raises the named errors of folder, ledger and publishing."""
    began = now()
    images = given.facts.format == "image"

    def plan(sources: list[PairSource]) -> Plan[PairClip]:
        found = Plan.of(sources, PairSource)
        return found.then(PlanImages()) if images else found.then(PlanPairs(plan_frames=frames))

    work = PairRun(plan=plan, work_dir=out / "_work", packages={name: version(name) for name in PACKAGES})
    open_folder(out, work, resume, given.facts)
    with work.ledger.open() as ledger:
        with runner_of(runner, {}, console) as run, console.progress() as progress:
            work.run(ledger, given.sources, run, progress, phase="import")
        console.phase("seal")
        facts = run_facts(work, given.facts.videos_root, began, runner, 1)
        ended = Ended()
        groups = list(_groups(given, ledger, ended))
        names = [name for name, _ in work.plan([]).named]
        funnel = ended.funnel(given.rows, names, work_funnel(ledger, given.sources))

        def manifest(shards: tuple[Shard, ...]) -> Manifest:
            return manifest_of(shards, ended.facts(), replace(facts, funnel=funnel))

        sealed = seal(out, TABLES, groups, manifest)
    samples = sealed.rows("data")
    return Imported(sealed, funnel, samples, given.rows, ended.of("skip"), ended.of("failure"))


def _groups(given: PairInput, ledger: Ledger, ended: Ended) -> Iterator[tuple[str, Rows]]:
    """What could not be imported, then the samples by video."""
    lost = rejected_outcomes(given.rejected)
    samples: list[PublishedSample] = []
    for source in given.sources:
        found = ledger.read(ledger_key(source.uri))
        lost += pair_outcomes(source, found.outcomes)
        for clip in PairClip.from_arrow(found.rows):
            samples += unscored_samples(clip, given.facts.format)
    ended.add(lost)
    if lost:
        yield "!ended", {"failures": lost}
    yield from sample_groups(samples)
