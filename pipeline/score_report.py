"""What people look at after scoring: README.md with figures, subsets.csv, and one page with examples."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline.plots import to_png, to_svg
from pipeline.report import REPORT, environment
from pipeline.score_plots import tpl_against_length, tpl_boxes
from pipeline.score_strip import score_strip
from pipeline.score_table import (
    MEANS,
    Measured,
    SubsetLine,
    mean_text,
    means_of,
    read_table,
    table,
    to_csv,
    verdicts_of,
    with_se,
)
from pipeline.shards import writing
from pipeline.strip import Strip
from schemas.manifest import Manifest
from schemas.outcome import Outcome
from schemas.pair import InputFacts, PairScore
from stages.algorithms.draws import stable_hash
from stages.media.child import ReadError

CARD, TABLE = "README.md", "subsets.csv"
PLOTS = {"tpl_by_subset.png": tpl_boxes, "tpl_against_length.png": tpl_against_length}
EXAMPLES = 10
LISTED = 50  # outcomes on the page
LoadFrames = Callable[[PairScore], np.ndarray]  # the planned frames of a row: uint8 RGB (T, H, W, 3)


@dataclass(frozen=True, slots=True)
class Example:
    """A scored text as the page shows it."""

    row: PairScore
    strip: Strip


def write_score_report(
    out: Path, manifest: Manifest, given: InputFacts, load_frames: LoadFrames
) -> tuple[SubsetLine, ...]:
    """Writes card, table, figures and page from the sealed shards; returns the table."""
    rows = measured(out)
    lines = table(rows, verdicts_of(rows)) if rows else ()
    drawn = bool(rows) and all(row.tpl_per_token is not None for row in rows)  # the others are not like those
    about = {
        "manifest": manifest, "given": given, "lines": lines, "with_se": with_se, "n_rows": _rows_in(manifest),
        "heads": [(name, MEANS[name][0]) for name in means_of(lines)], "mean_text": mean_text, "drawn": drawn,
        "n_part": sum(row.n_read < row.n_frames for row in rows),
    }  # fmt: skip
    with writing(out):
        (out / "plots").mkdir(exist_ok=True)
        (out / TABLE).write_text(to_csv(lines), encoding="utf-8")
        for name, figure in PLOTS.items():
            if drawn:
                (out / "plots" / name).write_bytes(to_png(figure(rows)))
            else:
                (out / "plots" / name).unlink(missing_ok=True)
        (out / CARD).write_text(
            environment().get_template("score_card.md.j2").render(**about, columns=_columns()), encoding="utf-8"
        )
        page = _page(out, rows, load_frames, about)
        (out / REPORT).write_text(page, encoding="utf-8")
    return lines


def measured(out: Path) -> list[Measured]:
    """What table and plots need of every scored text, in the order of the input."""
    names = list(Measured.__dataclass_fields__)
    return [Measured(**row) for row in read_table(out, "scores", names).iter_rows(named=True)]


def examples(out: Path, load_frames: LoadFrames) -> tuple[list[Example], list[str]]:
    """A fixed draw that covers verdicts, sub-datasets and films, and the films that cannot be read any more."""
    chosen = _cover(read_table(out, "scores", ["pair_id", "subset", "verdict", "uri"]).rows())
    files = sorted((out / "scores").glob("*.parquet"))
    found = PairScore.from_arrow(pq.read_table(files, filters=[("pair_id", "in", chosen)])) if chosen else []
    shown: list[Example] = []
    unreadable: list[str] = []
    for row in sorted(found, key=lambda row: (row.tpl_per_token is None, -(row.tpl_per_token or 0.0))):
        try:
            shown.append(Example(row, score_strip(row, set(row.certificate or ()), load_frames(row))))
        except ReadError as error:  # scores are sealed and right; a film that has gone since is news, no failure
            unreadable.append(str(error))
    return shown, unreadable


def _cover(rows: Sequence[tuple[str, str, str | None, str]]) -> list[str]:
    left = sorted(rows, key=lambda row: stable_hash(f"example/{row[0]}"))[:5_000]
    used: Counter[str] = Counter()
    chosen: list[str] = []

    def marks(row: tuple[str, str, str | None, str]) -> tuple[str, ...]:
        _, subset, verdict, uri = row
        return f"{subset}|{verdict}", f"verdict {verdict}", f"subset {subset}", f"uri {uri}"

    while left and len(chosen) < EXAMPLES:
        best = min(left, key=lambda row: [used[mark] for mark in marks(row)])
        left.remove(best)
        chosen.append(best[0])
        used.update(marks(best))
    return chosen


def _page(out: Path, rows: Sequence[Measured], load_frames: LoadFrames, about: dict[str, object]) -> str:
    shown, unreadable = examples(out, load_frames)
    ended = [Outcome(**values) for values in read_table(out, "failures").iter_rows(named=True)]
    return (
        environment()
        .get_template("score_report.html.j2")
        .render(
            **about,
            shown=shown,
            unreadable=unreadable,
            boxes=to_svg(tpl_boxes(rows)) if about["drawn"] else None,
            lengths=to_svg(tpl_against_length(rows)) if about["drawn"] else None,
            ended=sorted(ended, key=lambda o: (o.kind != "failure",))[:LISTED],
            n_ended=len(ended),
            outside=sum(row.scorer_domain == "out" for row in rows),
            unknown=sum(row.scorer_domain not in ("in", "out") for row in rows),
        )
    )


def _rows_in(manifest: Manifest) -> int:
    return manifest.funnel[0].rows_in


def _columns() -> list[tuple[str, str]]:
    return [(f.name, str(f.type).replace(" not null", "").replace("item: ", "")) for f in PairScore.schema()]
