"""The table of sub-datasets, as in the paper's figure: mean TPL a token, what even the best frame lacks, verdicts."""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import polars as pl
from rich.table import Table
from rich.text import Text

ALL = "(all)"
NO_VERDICT, UNDECIDED = "not calibrated", "not decided"
MEANS = {  # of a line: head and digits
    "tpl_per_token": ("TPL, nats a token", 4),
    "tpl_random_per_token": ("paper's estimator", 4),
    "tpl_key": ("TPL key, nats", 3),
    "tpl_key_most": ("TPL key at most, nats", 3),
    "n_read": ("frames read", 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What tables and plots know of one text."""

    subset: str
    video_id: str
    n_tokens: int
    n_frames: int
    n_read: int
    tpl_per_token: float | None
    tpl_random_per_token: float | None
    tpl_key: float | None
    tpl_key_most: float | None
    verdict: str | None
    scorer_domain: str

    @property
    def says(self) -> str:
        """The verdict, or why there is none."""
        return self.verdict or (NO_VERDICT if self.n_read == self.n_frames else UNDECIDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetLine:
    """One line; `_se` are standard errors, counted over videos and not over texts; they hold what draws of frames add.

    A mean is null unless every text has the value: those that a budget left out are not like the others."""

    subset: str
    n: int
    videos: int
    tokens: float  # of an answer, mean
    n_read: float  # frames read alone, of a text, mean
    tpl_per_token: float | None  # nats a token, the expectation of the paper's estimator
    tpl_per_token_se: float | None  # null also where there is one video only
    tpl_random_per_token: float | None  # nats a token, the paper's estimator
    tpl_random_per_token_se: float | None
    tpl_key: float | None  # nats
    tpl_key_se: float | None
    tpl_key_most: float | None  # nats
    tpl_key_most_se: float | None
    in_domain: float  # share of the texts
    verdicts: tuple[tuple[str, float, float | None], ...]  # verdict, share, its standard error


def read_table(out: Path, name: str, columns: list[str] | None = None) -> pl.DataFrame:
    """A sealed table, its columns in this order. Its files by name: a folder called run[1] is no pattern."""
    found = pl.read_parquet(sorted((out / name).glob("*.parquet")), columns=columns, glob=False)
    return found.select(columns) if columns else found


def table(rows: Iterable[Measured], verdicts: Sequence[str]) -> tuple[SubsetLine, ...]:
    """A line a subset, highest TPL first, then those without, and one of all, last."""
    groups: defaultdict[str, list[Measured]] = defaultdict(list)
    for row in rows:
        groups[row.subset].append(row)
    lines = sorted(
        (_line(name, own, verdicts) for name, own in groups.items()),
        key=lambda x: (x.tpl_per_token is None, -(x.tpl_per_token or 0.0), x.subset),
    )
    every = [row for own in groups.values() for row in own]
    return (*lines, _line(ALL, every, verdicts)) if len(lines) > 1 else tuple(lines)


def verdicts_of(rows: Iterable[Measured]) -> list[str]:
    """The verdicts that occur, the most frequent first."""
    counts = Counter(row.says for row in rows)
    return [verdict for verdict, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def clustered_se(values: Sequence[float], cluster: Sequence[str]) -> float | None:
    """Standard error of the mean where values of one cluster (texts of one video) may hang together.

    sqrt(G / (G - 1) * sum over clusters of (sum of residuals)^2) / n; with clusters of one value it is the usual one.
    """
    codes = np.unique(np.asarray(cluster), return_inverse=True)[1]
    n_clusters = int(codes.max()) + 1
    if n_clusters < 2:
        return None
    numbers = np.asarray(values, np.float64)
    sums = np.bincount(codes, weights=numbers - numbers.mean())
    return float(np.sqrt(n_clusters / (n_clusters - 1) * (sums**2).sum()) / len(numbers))


def to_csv(lines: Sequence[SubsetLine]) -> str:
    """The table as CSV, a pair of columns a verdict."""
    file = io.StringIO()
    plain = [f.name for f in fields(SubsetLine) if f.name != "verdicts"]
    names = [name for line in lines[:1] for name, _, _ in line.verdicts]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*plain, *(f"{name}{end}" for name in names for end in ("", "_se"))])
    for line in lines:
        shares = [value for _, share, se in line.verdicts for value in (share, se)]
        writer.writerow([_cell(getattr(line, name)) for name in plain] + [_cell(value) for value in shares])
    return file.getvalue()


def means_of(lines: Sequence[SubsetLine]) -> list[str]:
    """The means that are shown: those that a line has, and what a budget read only where there was one."""
    shown = [name for name in MEANS if any(getattr(line, name) is not None for line in lines)]
    exact = all(line.tpl_key is not None for line in lines)
    return [name for name in shown if not (exact and name in ("tpl_key_most", "n_read"))]


def mean_text(line: SubsetLine, name: str) -> str:
    """One mean of a line as it is shown: "0.0310 ± 0.0012"."""
    return with_se(getattr(line, name), getattr(line, f"{name}_se", None), MEANS[name][1])


def rich_table(lines: Sequence[SubsetLine]) -> Table:
    """The table for a console."""
    found = Table(title="TPL by sub-dataset", title_justify="left", header_style="bold")
    names, means = [name for line in lines[:1] for name, _, _ in line.verdicts], means_of(lines)
    heads = ("subset", "texts", "videos", *(MEANS[name][0] for name in means), *names)
    for k, head in enumerate(heads):
        found.add_column(head, justify="left" if k == 0 else "right", overflow="fold")
    for line in lines:
        found.add_row(
            Text(line.subset),
            f"{line.n:,}",
            f"{line.videos:,}",
            *(mean_text(line, name) for name in means),
            *(f"{share:.0%}" for _, share, _ in line.verdicts),
        )
    return found


def with_se(value: float | None, se: float | None, digits: int) -> str:
    """ "0.0310 ± 0.0012"; no error where there is none, a dash where there is no value."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" + ("" if se is None else f" ± {se:.{digits}f}")


def _line(subset: str, rows: Sequence[Measured], verdicts: Sequence[str]) -> SubsetLine:
    videos = [row.video_id for row in rows]  # not uris: one film may lie in two places

    def mean(values: Sequence[float]) -> tuple[float, float | None]:
        return float(np.mean(values)), clustered_se(values, videos)

    def known(values: Sequence[float | None]) -> tuple[float | None, float | None]:
        found = [value for value in values if value is not None]
        return mean(found) if len(found) == len(values) else (None, None)

    tpl, tpl_se = known([row.tpl_per_token for row in rows])
    random, random_se = known([row.tpl_random_per_token for row in rows])
    key, key_se = known([row.tpl_key for row in rows])
    most, most_se = known([row.tpl_key_most for row in rows])
    return SubsetLine(
        subset=subset,
        n=len(rows),
        videos=len(set(videos)),
        tokens=float(np.mean([row.n_tokens for row in rows])),
        n_read=float(np.mean([row.n_read for row in rows])),
        tpl_per_token=tpl,
        tpl_per_token_se=tpl_se,
        tpl_random_per_token=random,
        tpl_random_per_token_se=random_se,
        tpl_key=key,
        tpl_key_se=key_se,
        tpl_key_most=most,
        tpl_key_most_se=most_se,
        in_domain=float(np.mean([row.scorer_domain == "in" for row in rows])),
        verdicts=tuple((v, *mean([row.says == v for row in rows])) for v in verdicts),
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
