"""Seals what the score job found: scores, tokens, failures; and the funnel, counted in texts."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.collect import CreditError
from pipeline.formats.read import PairInput
from pipeline.formats.records import Rejected
from pipeline.funnel import Funnel, StageCount
from pipeline.ledger import Ledger
from pipeline.pair_rows import dropped, score_rows, token_rows
from pipeline.pair_run import ledger_key, pair_outcomes, work_funnel
from pipeline.publish import RunFacts, manifest_of
from pipeline.seal_tables import Rows, seal
from schemas.manifest import Manifest, ScorerFacts, Shard
from schemas.outcome import Outcome
from schemas.pair import PairScore, PairSource, PairTokens, ScoredPairs
from schemas.row import Record
from stages.measure import Measures

READ = "ReadPairs"  # the stage of rows that the input already spoils
INPUT = "input.json"
TABLES = {"scores": PairScore, "tokens": PairTokens, "failures": Outcome}
KINDS = ("skip", "failure")


@dataclass(slots=True)
class Ended:
    """Counts of texts that ended early, by stage, and of scorers."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # stage, kind, reason
    scorers: Counter[tuple[ScorerFacts, str]] = field(default_factory=Counter)  # with domain; its own counts are 0

    def add(self, outcomes: Sequence[Outcome]) -> None:
        self.counts.update((o.stage, o.kind, o.reason) for o in outcomes)

    def facts(self) -> tuple[ScorerFacts, ...]:
        """Each scorer with the number of spans inside its domain and outside."""
        return tuple(
            replace(key, clips_in=self.scorers[key, "in"], clips_out=self.scorers[key, "out"])
            for key in sorted({key for key, _ in self.scorers}, key=repr)
        )

    def of(self, kind: str) -> int:
        return sum(n for (_, k, _), n in self.counts.items() if k == kind)

    def funnel(self, rows: int, stages: Sequence[str], work: Funnel) -> Funnel:
        """Texts in and out of each stage: what enters the first and does not end comes out of the last."""
        lines: dict[str, StageCount] = {}
        for stage in (READ, *stages):
            lost = {kind: {r: n for (s, k, r), n in self.counts.items() if (s, k) == (stage, kind)} for kind in KINDS}
            left = rows - sum(lost["skip"].values()) - sum(lost["failure"].values())
            seconds = work.stages[stage].seconds if stage in work.stages else 0.0
            lines[stage] = StageCount(
                rows_in=rows, rows_out=left, seconds=seconds, skipped=lost["skip"], failed=lost["failure"]
            )
            rows = left
        return Funnel(lines)


@dataclass(frozen=True, slots=True)
class Published:
    """A sealed folder, and what became of the rows that are not in it."""

    manifest: Manifest
    funnel: Funnel  # in texts
    skipped: int
    failed: int


def rejected_outcomes(rejected: Sequence[Rejected]) -> list[Outcome]:
    return [
        Outcome(key=r.key, uri=r.uri, stage=READ, kind="failure", reason=r.reason, detail=r.detail) for r in rejected
    ]


def publish_scores(
    out: Path, given: PairInput, ledger: Ledger, facts: RunFacts, stages: Sequence[str], measures: Measures
) -> Published:
    """Seals the scores in the order of the input; raises CreditError where a text was lost."""
    ended = Ended()
    work = work_funnel(ledger, given.sources)
    early = rejected_outcomes(given.rejected)
    ended.add(early)

    def groups() -> Iterator[tuple[str, Rows]]:
        if early:
            yield "!rejected", {"failures": early}
        for source in given.sources:
            yield ledger_key(source.uri), _rows_of(source, ledger, ended, measures)

    def manifest(shards: tuple[Shard, ...]) -> Manifest:
        scored = sum(shard.rows for shard in shards if shard.table == "scores")
        if given.rows != scored + ended.counts.total():
            raise CreditError(
                f"{given.rows} rows in, {scored} scored, {ended.counts.total()} ended by name: rows are lost"
            )
        return manifest_of(shards, ended.facts(), replace(facts, funnel=ended.funnel(given.rows, stages, work)))

    sealed = seal(out, TABLES, groups(), manifest, beside=lambda: {INPUT: given.facts.to_json()})
    return Published(sealed, ended.funnel(given.rows, stages, work), ended.of("skip"), ended.of("failure"))


def _rows_of(source: PairSource, ledger: Ledger, ended: Ended, measures: Measures) -> Rows:
    found = ledger.read(ledger_key(source.uri))
    clips = sorted(ScoredPairs.from_arrow(found.rows), key=lambda c: c.span_index)
    outcomes = pair_outcomes(source, found.outcomes) + [o for clip in clips for o in dropped(clip)]
    ended.add(outcomes)
    for clip in clips:
        s = clip.scorer
        key = ScorerFacts(
            scorer=s.scorer, dtype=s.dtype, engine=s.engine, prompt_hash=s.prompt_hash, n_frames=s.n_frames,
            skill=s.skill, thresholds=s.thresholds, clips_in=0, clips_out=0,
        )  # fmt: skip
        ended.scorers[key, s.scorer_domain] += 1
    place = {text.pair_id: k for k, text in enumerate(source.texts)}
    scores = [row for clip in clips for row in score_rows(clip)]
    tokens = [row for clip in clips for row in token_rows(clip, measures)]
    return {
        "scores": _in_order(scores, [place[row.pair_id] for row in scores]),
        "tokens": _in_order(tokens, [place[row.pair_id] for row in tokens]),
        "failures": _in_order(outcomes, [place[o.key] for o in outcomes]),
    }


def _in_order(rows: Sequence[Record], places: Sequence[int]) -> list[Record]:
    """Rows by place, equal ones as they come."""
    return [row for _, row in sorted(zip(places, rows, strict=True), key=lambda pair: pair[0])]
