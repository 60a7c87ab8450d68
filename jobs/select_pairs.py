"""Makes a training set of the texts that need their films most, and two controls: `utr select OUT --top-tpl 50%`."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.build import NotOurs
from pipeline.formats.write import check_input, input_file, write_records
from pipeline.given_samples import scored_samples, scores_of
from pipeline.publish import DATA_ROWS, read_manifest
from pipeline.score_publish import INPUT
from pipeline.seal_tables import Rows, seal
from pipeline.select_records import Pool, by_file, pool_of
from pipeline.shards import Limits, writing
from schemas.manifest import FORMAT, Manifest, Shard
from schemas.pair import InputFacts, PairScore
from schemas.sample import PublishedSample
from stages.algorithms.matching import Choice, bin_name, choose

SETS = ("top", "random", "low")
ACCOUNT = "selection.json"
WORK = "_selecting"  # what is written before it takes the place of an earlier selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How records are chosen."""

    share: float
    by: str = "subset"
    rank: str = "tpl_key"
    seed: int = 0
    keep_ungrounded: bool = False


@dataclass(frozen=True, slots=True)
class Selected:
    """What was chosen, of what."""

    pool: Pool
    choice: Choice
    files: tuple[Path, ...]  # the input's own format
    samples: dict[str, int]  # by set


def select(out: Path, to: Path, rule: Rule) -> Selected:
    """Writes to/top, to/random and to/low; raises NotOurs, and SourceError where the input is not as it was.

    The sets take the place of an earlier selection when all three are written; its account goes first and comes last.
    """
    given = input_facts(out)
    check_input(given)
    _check_folder(to, given, out)
    pool = pool_of(out, rank=rule.rank, by=rule.by, keep_ungrounded=rule.keep_ungrounded)
    choice = choose(pool.candidates, rule.share, seed=rule.seed)
    rows, files, samples = _rows(out), [], {}
    work = to / WORK
    with writing(work):
        if work.exists():
            shutil.rmtree(work)
        work.mkdir(parents=True)
    for name, keys in zip(SETS, (choice.top, choice.random, choice.low), strict=True):
        with writing(work / name):
            (work / name).mkdir()
        chosen = by_file(pool, keys)
        found = _samples(given, rows, chosen)
        _seal(work / name, found, given, out)
        if given.format != "shards":  # there the sealed rows are the records
            written = write_records(given, chosen, work / name)
            files += [to / path.relative_to(work) for path in written]
        samples[name] = len(found)
    with writing(to):
        (work / "README.md").write_text(_readme(rule, pool, choice), encoding="utf-8")
        (work / ACCOUNT).write_text(json.dumps(_account(out, rule, pool, choice), indent=1) + "\n", encoding="utf-8")
        _replace(to, work)
    return Selected(pool, choice, tuple(files), samples)


def _check_folder(to: Path, given: InputFacts, out: Path) -> None:
    """Raises NotOurs where `to` holds other things than a selection, or what would be removed is read from here."""
    ours = (to / ACCOUNT).is_file() or (to / WORK).is_dir()
    if to.exists() and any(to.iterdir()) and not ours:
        raise NotOurs(f"{to} holds {sorted(p.name for p in to.iterdir())[0]} and is no selection; choose another --to")
    needed = [Path(given.path), out, *(Path(root) for root in (given.videos_root,) if "://" not in root)]
    for folder in [(to / name).resolve() for name in (*SETS, WORK, ACCOUNT)]:
        for path in needed:
            if path.resolve().is_relative_to(folder):
                raise NotOurs(f"{folder} would be written anew, and {path} is read from it; choose another --to")
        if folder.is_relative_to(Path(given.path).resolve()):
            raise NotOurs(f"{folder} would become part of the input {given.path}; choose another --to")


def _replace(to: Path, work: Path) -> None:
    """Puts what is written in the place of an earlier selection. While `work` is there, `to` is a selection of ours."""
    (to / ACCOUNT).unlink(missing_ok=True)
    for name in SETS:
        if (to / name).exists():
            shutil.rmtree(to / name)
        (work / name).rename(to / name)
    for name in ("README.md", ACCOUNT):
        (work / name).rename(to / name)
    work.rmdir()


def input_facts(out: Path) -> InputFacts:
    """What a scored folder was scored from; raises NotOurs where it is none."""
    path = out / INPUT
    if not (path.is_file() and (out / "manifest.json").is_file()):
        raise NotOurs(f"{out} is no finished output of `utr score`: it has no {INPUT} or no manifest.json")
    return InputFacts.from_json(path.read_text(encoding="utf-8"))


def _rows(out: Path) -> dict[tuple[str, int], list[PairScore]]:
    found: dict[tuple[str, int], list[PairScore]] = {}
    for file in sorted((out / "scores").glob("*.parquet")):
        for row in PairScore.from_arrow(pq.read_table(file)):
            found.setdefault((row.file, row.record), []).append(row)
    return found


def _samples(
    given: InputFacts, rows: Mapping[tuple[str, int], list[PairScore]], chosen: Mapping[str, Sequence[int]]
) -> list[PublishedSample]:
    """The chosen records in the shard schema, with their scores; our own samples keep all else that they have."""
    found: list[PublishedSample] = []
    for file, numbers in chosen.items():
        own = PublishedSample.from_arrow(pq.read_table(input_file(given, file))) if given.format == "shards" else None
        for number in numbers:
            scored = rows[file, number]
            found += [_rescored(own[number], scored)] if own else scored_samples(scored, given.format)
    return found


def _rescored(sample: PublishedSample, rows: list[PairScore]) -> PublishedSample:
    return replace(sample, **asdict(scores_of(rows)))


def _seal(to: Path, samples: list[PublishedSample], given: InputFacts, out: Path) -> Manifest:
    scored = read_manifest(out)

    def manifest(shards: tuple[Shard, ...]) -> Manifest:
        return Manifest(
            format=FORMAT,
            engine=f"utr-engine {version('utr-engine')}",
            plan_fingerprint=scored.plan_fingerprint,
            plan=scored.plan,
            packages=scored.packages,
            videos_root=given.videos_root,
            scorers=scored.scorers,
            funnel=(),
            shards=shards,
            run=None,
        )

    limits = {"data": Limits(row_group_rows=DATA_ROWS)}
    return seal(to, {"data": PublishedSample}, sample_groups(samples), manifest, limits=limits)


def sample_groups(samples: Sequence[PublishedSample]) -> list[tuple[str, Rows]]:
    """Samples by video, both in the order of their ids, as shards hold them."""
    groups: dict[str, list[PublishedSample]] = {}
    for sample in sorted(samples, key=lambda s: (s.video_id, s.sample_id)):
        groups.setdefault(sample.video_id, []).append(sample)
    return [(video_id, {"data": own}) for video_id, own in groups.items()]


def _account(out: Path, rule: Rule, pool: Pool, choice: Choice) -> dict[str, object]:
    return {
        "scores": str(out.absolute()),
        "rule": asdict(rule),
        "pool": len(pool.candidates),
        "left_out": pool.left_out,
        "outside_scorer_domain": pool.outside,
        "without_verdict": pool.unread + pool.uncalibrated,
        "asked": choice.asked,
        "selected": len(choice.top),
        "could_not_be_matched": choice.short,
        "in_top_too": {"random": choice.shared(choice.random), "low": choice.shared(choice.low)},
        "strata": [
            {
                "group": s.group,
                "type": s.kind,
                "answer_tokens": bin_name(s.length),
                "pool": s.pool,
                "in_each_set": s.taken,
            }
            for s in choice.strata
        ],
        "top": choice.top,
        "random": choice.random,
        "low": choice.low,
    }


def _readme(rule: Rule, pool: Pool, choice: Choice) -> str:
    """What the three folders are, with the numbers that tell them apart."""
    values = {c.key: (c.value, c.n_tokens) for c in pool.candidates}
    lines = [
        "# Selected by temporal perplexity",
        "",
        f"Of each {rule.by}, the {rule.share:.0%} of the records with the highest `{rule.rank}` a token (`top/`), and",
        "beside them two controls: a random draw (`random/`) and the lowest (`low/`). In each stratum of group, type",
        "and length of the answers the three have the same number of records, so they differ in the score alone.",
        "`records/` holds them unchanged, in the format of the input (where that is not shards already); `data/` holds",
        "the same in the shard schema.",
        "",
        f"| set | records | mean {rule.rank}, nats a token | mean tokens of the answers | also in top |",
        "|-|-:|-:|-:|-:|",
    ]
    for name, keys in zip(SETS, (choice.top, choice.random, choice.low), strict=True):
        found = [values[key] for key in keys]
        means = [sum(part) / len(found) for part in zip(*found, strict=True)] if found else [0.0, 0.0]
        lines.append(f"| {name} | {len(found)} | {means[0]:.4f} | {means[1]:.1f} | {choice.shared(keys)} |")
    left_out = ", ".join(f"{n} {why}" for why, n in sorted(pool.left_out.items())) or "none"
    lines += [
        "",
        f"Pool: {len(pool.candidates)} records; left out before: {left_out}. Asked for: {choice.asked}; of these",
        f"{choice.short} could not be matched. {pool.outside} records are about films outside the scorer's domain.",
        f"Seed {rule.seed}.",
    ]
    return "\n".join(lines) + "\n"
