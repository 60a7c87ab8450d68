"""Brings other people's sets into the shard schema: `utr import --format llava INPUT --videos ROOT --out DIR`.

A video gets a plan of frames that are evenly spread over it, an image becomes a clip of one frame, a conversation about
neither has no frames. Nothing is scored. No frame but a video's first is decoded, unless they are packed: then the
planned ones are, once, and lie as JPEGs in clips/.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from jobs.console import Console
from jobs.pairs import now, open_folder, run_facts, runner_of
from jobs.select_pairs import sample_groups
from pipeline.formats.read import PairInput
from pipeline.funnel import Funnel
from pipeline.given_samples import text_samples, unscored_samples
from pipeline.ledger import Ledger
from pipeline.pair_run import PairRun, ledger_key, pair_outcomes, work_funnel
from pipeline.plan import Plan
from pipeline.publish import DATA_ROWS, JPEG_QUALITY, PACKED_ROWS, manifest_of
from pipeline.score_publish import Ended, rejected_outcomes
from pipeline.seal_tables import Rows, Tables, seal
from pipeline.shards import Limits
from schemas.manifest import Manifest, Shard
from schemas.outcome import Outcome
from schemas.pair import PairClip, PairSource
from schemas.sample import PackedClip, PublishedSample
from stages.media.child import ReadError
from stages.media.reader import Reader
from stages.pack_frames import PackFrames
from stages.plan_images import PlanImages
from stages.plan_pairs import PlanPairs

PACKAGES = ("utr-engine", "av", "pillow", "numpy", "pyarrow")
PACKING = ("opencv-python",)  # what writes JPEGs
TABLES: Tables = {"data": PublishedSample, "failures": Outcome}
LIMITS = {"data": Limits(row_group_rows=DATA_ROWS), "failures": Limits(), "clips": Limits(row_group_rows=PACKED_ROWS)}


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
    given: PairInput, out: Path, *, frames: int, runner: str, resume: bool, console: Console, pack_frames: bool = False
) -> Imported:  # fmt: skip
    """Reads, seals; raises the named errors of folder, ledger and publishing."""
    began = now()
    images = given.facts.format == "image"
    pack = PackFrames(folder=str((out / "_work" / "frames").absolute()), quality=JPEG_QUALITY) if pack_frames else None

    def plan(sources: list[PairSource]) -> Plan[PairClip]:
        found = Plan.of(sources, PairSource)
        planned = found.then(PlanImages()) if images else found.then(PlanPairs(plan_frames=frames))
        return planned.then(pack) if pack else planned

    packages = {name: version(name) for name in (*PACKAGES, *(PACKING if pack else ()))}
    work = PairRun(plan=plan, work_dir=out / "_work", packages=packages)
    open_folder(out, work, resume, given.facts)
    with work.ledger.open() as ledger:
        if given.sources:  # else all are texts without a medium
            with runner_of(runner, {}, console) as run, console.progress() as progress:
                work.run(ledger, given.sources, run, progress, phase="import")
        console.phase("seal")
        facts = run_facts(work, given.facts.videos_root, began, runner, 1)
        ended = Ended()
        clips: dict[str, list[PairClip]] = {}
        groups = list(_groups(given, ledger, ended, clips))
        names, done = [name for name, _ in work.plan([]).named], work_funnel(ledger, given.sources)

        def funnel() -> Funnel:
            return ended.funnel(given.rows, names, done)

        def manifest(shards: tuple[Shard, ...]) -> Manifest:  # when all rows are written: packing may have lost some
            return manifest_of(shards, ended.facts(), replace(facts, funnel=funnel()))

        tables = {**TABLES, "clips": PackedClip} if pack else TABLES
        sealed = seal(out, tables, _packed(groups, clips, pack, ended) if pack else groups, manifest, limits=LIMITS)
        shutil.rmtree(out / "_work" / "frames", ignore_errors=True)  # they are in clips/ now
    samples = sealed.rows("data")
    return Imported(sealed, funnel(), samples, given.rows, ended.of("skip"), ended.of("failure"))


def _groups(
    given: PairInput, ledger: Ledger, ended: Ended, clips: dict[str, list[PairClip]]
) -> Iterator[tuple[str, Rows]]:  # fmt: skip
    """What could not be imported, then the samples by video; `clips` takes spans by clip_id, shared by equal files."""
    lost = rejected_outcomes(given.rejected)
    samples = text_samples(given.alone, given.facts.format)
    for source in given.sources:
        found = ledger.read(ledger_key(source.uri))
        lost += pair_outcomes(source, found.outcomes)
        for clip in PairClip.from_arrow(found.rows):
            clips.setdefault(clip.clip_id, []).append(clip)
            samples += unscored_samples(clip, given.facts.format)
    ended.add(lost)
    if lost:
        yield "!ended", {"failures": lost}
    yield from sample_groups(samples)


def _packed(
    groups: Iterable[tuple[str, Rows]], clips: Mapping[str, Sequence[PairClip]], pack: PackFrames, ended: Ended
) -> Iterator[tuple[str, Rows]]:  # fmt: skip
    """The same with each video's clips and their frames, which are read when their turn comes.

    Frames that another machine kept are decoded again: what cannot be by now has failed, and its samples go with it.
    """
    with Reader() as reader:
        for video_id, rows in groups:
            samples = [row for row in rows.get("data", ()) if isinstance(row, PublishedSample)]
            packed, lost = [], []
            for clip_id in sorted({s.clip_id for s in samples} & clips.keys()):
                try:
                    packed.append(_clip(clip_id, _frames(pack, reader, clips[clip_id])))
                except ReadError as error:
                    lost += [row for clip in clips[clip_id] for row in _lost(clip, error)]
                    samples = [s for s in samples if s.clip_id != clip_id]
            ended.add(lost)
            yield video_id, {"failures": [*rows.get("failures", ()), *lost], "data": samples, "clips": packed}


def _frames(pack: PackFrames, reader: Reader, equal: Sequence[PairClip]) -> tuple[bytes, ...]:
    """Of the first of equal files that can be read; raises the last one's ReadError."""
    for clip in equal[:-1]:
        with suppress(ReadError):
            return pack.packed(reader, clip)
    return pack.packed(reader, equal[-1])


def _lost(clip: PairClip, error: ReadError) -> list[Outcome]:
    """A failure for each text of the span."""
    why = {"stage": PackFrames.__name__, "kind": "failure", "reason": type(error).__name__, "detail": str(error)}
    return [Outcome(key=text.pair_id, uri=clip.uri, **why) for text in clip.texts]


def _clip(clip_id: str, frames_jpeg: tuple[bytes, ...]) -> PackedClip:
    return PackedClip(
        clip_id=clip_id, tracks=(), events=(), relations=(), captions=(), caption_scores=(), frames_jpeg=frames_jpeg
    )  # fmt: skip
