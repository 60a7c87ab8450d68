"""A run over pairs: each video is a source, committed when all its texts have come to an end; killed, it goes on."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.collect import Finished, finished
from pipeline.funnel import Funnel
from pipeline.ledger import Ledger, PlanChanged, difference
from pipeline.plan import Plan
from pipeline.publish import read_manifest
from schemas.outcome import Outcome
from schemas.pair import PairSource
from stages.plan_pairs import by_span

Runner = Callable[[Plan[Any]], Iterator[pa.Table]]
Progress = Callable[[str, int, int], None]  # phase, videos done, videos in all


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRun:
    """A plan over pairs and the folder in which its progress is kept."""

    plan: Callable[[list[PairSource]], Plan[Any]]
    work_dir: Path
    packages: Mapping[str, str]  # versions: another decoder or engine makes other rows of equal parameters

    @property
    def lines(self) -> tuple[str, ...]:
        """What the run means, as "Stage.parameter = value" and "package.name = version"."""
        packages = [f"package.{name} = {release}" for name, release in sorted(self.packages.items())]
        return (*self.plan([]).describe_parameters(), *packages)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()[:12]

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.work_dir, self.fingerprint, self.lines)

    def check_sealed(self, out: Path) -> None:
        """Raises PlanChanged where the folder is sealed by another plan: its work folder may have been deleted."""
        if not (out / "manifest.json").exists():
            return
        manifest = read_manifest(out)
        if manifest.plan_fingerprint != self.fingerprint:
            lines = "\n".join(f"  {line}" for line in difference(manifest.plan, self.lines))
            raise PlanChanged(
                f"{out} was made by another run. What differs, old -> new:\n{lines}\nChoose another --out."
            )

    def run(
        self, ledger: Ledger, sources: Sequence[PairSource], runner: Runner, progress: Progress, *, phase: str
    ) -> None:
        """Brings every source to an end. Those that are committed are left alone, unless something failed in them."""
        done = ledger.done()
        todo = [s for s in sources if done.get(ledger_key(s.uri)) != asked(s) or failed(ledger.read(ledger_key(s.uri)))]
        by_uri = {s.uri: s for s in todo}
        progress(phase, len(sources) - len(todo), len(sources))
        plan = self.plan(todo)
        for count, found in enumerate(finished(plan, runner(plan)), start=len(sources) - len(todo) + 1):
            source = by_uri[found.source_uri]
            ledger.commit(ledger_key(source.uri), found, asked=asked(source))
            progress(phase, count, len(sources))


def ledger_key(uri: str) -> str:
    """Names a source's file: uris hold what file names cannot."""
    return hashlib.sha256(uri.encode()).hexdigest()[:32]


def asked(source: PairSource) -> str:
    """Names all that a source's rows follow from beside the plan: texts, place, and the file's size and date."""
    path = Path(source.location)
    stat = path.stat() if "://" not in source.location and path.is_file() else None
    stamp = [stat.st_size, stat.st_mtime_ns] if stat else None
    return hashlib.sha256(json.dumps([source.to_dict(), stamp], sort_keys=True).encode()).hexdigest()[:16]


def failed(found: Finished) -> bool:
    return any(outcome.kind == "failure" for outcome in found.outcomes)


def pair_outcomes(source: PairSource, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """An outcome for each text that a source or a span took with it: rows in are texts, so rows out are, too."""
    spans = by_span(source.texts)
    found = []
    for outcome in outcomes:
        lost = source.texts if outcome.key == source.uri else spans[int(outcome.key.removeprefix(f"{source.uri}#"))]
        found += [
            Outcome(
                key=text.pair_id,
                uri=source.uri,
                stage=outcome.stage,
                kind=outcome.kind,
                reason=outcome.reason,
                detail=outcome.detail,
            )
            for text in lost
        ]
    return found


def work_funnel(ledger: Ledger, sources: Sequence[PairSource]) -> Funnel:
    """The stages' funnel over all runs that it took, in spans of film."""
    total = Funnel()
    for source in sources:
        total = total.merge(ledger.read(ledger_key(source.uri)).funnel)
    return total
