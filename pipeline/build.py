"""A whole build: probe all sources, drop copies, run the plan over the rest, commit video by video, seal."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.balance import Balanced
from pipeline.collect import Finished, finished
from pipeline.funnel import Funnel, StageCount
from pipeline.ledger import Ledger, PlanChanged, difference
from pipeline.near_duplicates import Copies
from pipeline.plan import Plan
from pipeline.publish import FinishedVideo, read_manifest
from pipeline.storage import Place, is_there, writing
from schemas.clip import DecodedClip
from schemas.outcome import Outcome, Reason
from schemas.sample import SelectedClip
from schemas.video import Source, Video

Runner = Callable[[Plan[Any]], Iterator[pa.Table]]
Progress = Callable[[str, int, int], None]  # phase, videos done, videos in all


class NotOurs(ValueError):
    """The output folder holds something that is not a build."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A build of which every video is committed; `read` gives them in the order of their ids."""

    ledger: Ledger
    video_ids: tuple[str, ...]
    early: tuple[Finished, ...]  # sources that never became a video, in the order of their uris
    copies: tuple[Outcome, ...]

    def read(self) -> Iterator[tuple[str, Finished]]:
        for video_id in self.video_ids:
            yield video_id, self.ledger.read(video_id)

    @property
    def failed(self) -> int:
        """Sources in which something failed."""
        return sum(map(_failed, self.early)) + sum(_failed(video) for _, video in self.read())


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """Two plans over the same sources: `probe` names the videos, `process` does the work on those that are not done."""

    probe: Callable[[list[Source]], Plan[Video]]
    process: Callable[[list[Video]], Plan[Any]]
    work_dir: Place
    packages: Mapping[str, str]  # versions: another decoder or tracker makes other rows of equal parameters

    @property
    def lines(self) -> tuple[str, ...]:
        """What the build means, as "Stage.parameter = value" and "package.name = version"."""
        packages = [f"package.{name} = {release}" for name, release in sorted(self.packages.items())]
        return (*self.probe([]).describe_parameters(), *self.process([]).describe_parameters(), *packages)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()[:12]

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.work_dir, self.fingerprint, self.lines)

    def run(self, ledger: Ledger, sources: Sequence[Source], runner: Runner, progress: Progress) -> Built:
        """Brings every source to an end. Videos that are committed are left alone, unless something in them failed."""
        probed = self._probe(sources, runner, progress)
        videos, copies = _without_copies([v for f in probed for v in Video.from_arrow(f.rows)])
        done = ledger.done()
        todo = [v for v in videos if done.get(v.video_id) != _asked(v) or _failed(ledger.read(v.video_id))]
        by_uri = {v.uri: v for v in todo}
        progress("build", len(videos) - len(todo), len(videos))
        plan = self.process(todo)
        for count, video in enumerate(finished(plan, runner(plan)), start=len(videos) - len(todo) + 1):
            asked = by_uri[video.source_uri]
            ledger.commit(asked.video_id, video, asked=_asked(asked))
            progress("build", count, len(videos))
        return Built(
            ledger=ledger,
            video_ids=tuple(sorted(v.video_id for v in videos)),
            early=tuple(sorted(probed, key=lambda f: f.source_uri)),
            copies=tuple(copies),
        )

    def _probe(self, sources: Sequence[Source], runner: Runner, progress: Progress) -> list[Finished]:
        found: list[Finished] = []
        progress("probe", 0, len(sources))
        plan = self.probe(list(sources))
        for source in finished(plan, runner(plan)):
            found.append(source)
            progress("probe", len(found), len(sources))
        return found


def check_folder(out: Place) -> None:
    """Raises NotOurs where the folder holds other things than a build: nothing of anybody's is overwritten."""
    with writing(out):
        if not is_there(out):
            return
        if not out.is_dir():
            raise NotOurs(f"{out} is a file; choose another --out")
        ours = is_there(out / "_work" / "plan.json") or is_there(out / "manifest.json")
        held = [p.name for p in out.iterdir() if p.name != "_work"]
    if held and not ours:
        raise NotOurs(f"{out} holds {', '.join(sorted(held)[:3])} and is no build; choose another --out or empty it")


def check_sealed(out: Place, build: Build) -> None:
    """Raises PlanChanged where the folder is sealed by another plan: its work folder may have been deleted since."""
    if not is_there(out / "manifest.json"):
        return
    manifest = read_manifest(out)
    if manifest.plan_fingerprint != build.fingerprint:
        lines = "\n".join(f"  {line}" for line in difference(manifest.plan, build.lines))
        raise PlanChanged(
            f"{out} was built by another recipe. What differs, old -> new:\n{lines}\nChoose another --out."
        )


def _asked(video: Video) -> str:
    """Names all that a video's rows follow from beside the plan: its facts, where it lies, the texts it came with."""
    return hashlib.sha256(json.dumps(video.to_dict(), sort_keys=True).encode()).hexdigest()[:16]


def _failed(video: Finished) -> bool:
    return any(outcome.kind == "failure" for outcome in video.outcomes)


def _without_copies(videos: Sequence[Video]) -> tuple[list[Video], list[Outcome]]:
    """One video for each content, one that brings texts before one that does not, then the first by uri.

    The others end as Skip(duplicate_file).
    """
    first: dict[str, Video] = {}
    copies: list[Outcome] = []
    for video in sorted(videos, key=lambda v: (not (v.caption or v.qa), v.uri)):
        original = first.setdefault(video.video_id, video)
        if original is not video:
            detail = f"same bytes as {original.uri}"
            copies.append(
                Outcome(key=video.video_id, uri=video.uri, stage="ProbeVideo", kind="skip",
                        reason=Reason.DUPLICATE_FILE, detail=detail)
            )  # fmt: skip
    return list(first.values()), copies


def funnel_of(built: Built) -> Funnel:
    """The whole funnel: what probing and processing did, over all runs that it took."""
    total = Funnel()
    for source in built.early:
        total = total.merge(source.funnel)
    for _, video in built.read():
        total = total.merge(video.funnel)
    for copy in built.copies:  # they came out of probing as videos, and went no further
        total = total.merge(Funnel({copy.stage: StageCount(rows_out=-1, skipped={copy.reason: 1})}))
    return total


def finished_clips(built: Built) -> Iterator[DecodedClip]:
    """What pictures of all finished clips were found to be, without what was made of them."""
    for _, video in built.read():
        yield from DecodedClip.from_arrow(video.rows)


def selected_clips(built: Built, copies: Copies) -> Iterator[SelectedClip]:
    """All finished clips that are no copies."""
    for _, video in built.read():
        yield from copies.without(SelectedClip.from_arrow(video.rows))[0]


def finished_videos(built: Built, copies: Copies, balanced: Balanced | None) -> Iterator[FinishedVideo]:
    """All sources by id. One that never became a video, or is a copy, goes by "!" and its uri: before any id."""
    ended = {f.source_uri: list(f.outcomes) for f in built.early if f.outcomes}
    for outcome in built.copies:
        ended.setdefault(outcome.uri, []).append(outcome)
    for uri in sorted(ended):
        yield FinishedVideo(f"!{uri}", [], ended[uri])
    for video_id, video in built.read():
        clips, copied = copies.without(SelectedClip.from_arrow(video.rows))
        yield FinishedVideo(video_id, balanced.without(clips) if balanced else clips, [*video.outcomes, *copied])
