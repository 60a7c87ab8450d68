"""Does TPL measure what it says? `python benchmarks/tpl_validation.py [--scorers A B] [--films N]`.

Held-out generated films with truth from the world; writes benchmarks/results/tpl_validation.{md,json,png}. With the
embedded scorer: 160 films take about 3 CPU minutes a scorer on one core.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from rich.console import Console  # noqa: E402
from rich.progress import Progress  # noqa: E402

from benchmarks.validation_plots import plot  # noqa: E402
from benchmarks.validation_rows import Row, rows  # noqa: E402
from benchmarks.validation_stats import RESAMPLES, Figure  # noqa: E402
from benchmarks.validation_tables import (  # noqa: E402
    COLUMNS,
    by_kind,
    certificates,
    needs_time,
    order_dependence,
    passed,
    stability,
    verdicts,
)
from stages.models.load import load_scorer  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--scorers", nargs="+", default=["embedded"], help="folders, hub ids, or embedded")
    arguments.add_argument("--films", type=int, default=160)
    arguments.add_argument("--frames", type=int, default=8)
    arguments.add_argument("--out", type=Path, default=RESULTS / "tpl_validation")
    given = arguments.parse_args()
    start = time.process_time()
    measured = {name: _measured(name, given.films, given.frames) for name in given.scorers}
    first, *others = given.scorers
    found = measured[first]
    thresholds = load_scorer(first).thresholds
    result: dict[str, Any] = {
        "scorer": load_scorer(first).card(_frames(given.frames)).scorer,
        "n_frames": given.frames,
        "films": given.films,
        "needs_time": needs_time(found),
        "order": order_dependence(found, thresholds),
        "certificates": certificates(found),
        "verdicts": verdicts(found),
        "stability": {name: stability(found, measured[name]) for name in others},
        "machine": machine(),
        "cpu_s": 0.0,
    }
    result["cpu_s"] = round(time.process_time() - start, 1)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.with_suffix(".json").write_text(json.dumps(result, indent=1, default=asdict) + "\n")
    given.out.with_suffix(".md").write_text(markdown(result))
    plot(given.out.with_suffix(".png"), result["needs_time"], by_kind(found), result["machine"])
    Console().print(markdown(result), markup=False, highlight=False, soft_wrap=True)


def _measured(scorer: str, films: int, n_frames: int) -> list[Row]:
    loaded = load_scorer(scorer)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"films for {scorer}", total=films)

        def done(n: int) -> None:
            progress.update(task, completed=n)

        return list(rows(loaded, films=films, n_frames=n_frames, done=done))


def _frames(n_frames: int) -> Any:
    from pipeline.held_out import held_out

    return held_out(0, 0, n_frames).frames_THWC


def machine() -> str:
    """Processor and cores."""
    info = Path("/proc/cpuinfo")
    models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line] if (
        info.exists()
    ) else []  # fmt: skip
    return (
        f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )


def markdown(result: Mapping[str, Any]) -> str:
    """The report: one table a question, figures with 95 % intervals."""
    auc: dict[str, dict[str, Figure]] = result["needs_time"]
    lines = [
        "# Does TPL measure what it says?",
        "",
        f"Scorer {result['scorer']}, T = {result['n_frames']}, {result['films']} held-out generated films, "
        f"{result['cpu_s']:.0f} CPU s on {result['machine']}. Figures with 95 % intervals: {RESAMPLES} draws of films.",
        "",
        "## AUC of needs-time",
        "Positive: no single planned frame gives the text, by the world's truth and not by its kind. Mismatched: texts "
        "of another film among the negatives. Length-matched: both weighted to one distribution of lengths.",
        "",
        *_table(["score", *COLUMNS], [[name, *(str(row[c]) for c in COLUMNS)] for name, row in auc.items()]),
        "",
        *[f"- {line}" for line in passed(auc)],
        "",
        "## Order-dependence",
        "Label: the composer would not say the text of the frames in that order.",
        "",
        *_table(["figure", "value", "texts or orders"], [[k, str(f), str(f.n)] for k, f in result["order"].items()]),
        "",
        "## Certificates",
        "Needed: one frame of each group without which the text cannot be known. Target: recall .9, at most one too "
        "many.",
        "",
    ]
    for kind, figures in result["certificates"].items():
        texts = next(iter(figures.values())).n
        lines += [
            f"**{kind}**, {texts} texts",
            "",
            *_table(["figure", "value"], [[k, str(f)] for k, f in figures.items()]),
            "",
        ]
    lines += ["## Verdicts", ""]
    names = sorted({v for row in result["verdicts"].values() for v in row})
    lines += _table(
        ["text", *names], [[k, *(str(row.get(v, 0)) for v in names)] for k, row in result["verdicts"].items()]
    )
    for other, figures in result["stability"].items():
        lines += ["", f"## Rank correlation with {Path(other).name}", "Spearman over the same true texts.", ""]
        lines += _table(["quantity", "correlation"], [[k, str(f)] for k, f in figures.items()])
    return "\n".join([*lines, "", "![plot](tpl_validation.png)", ""])


def _table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (heads, ["-"] * len(heads), *body)]


if __name__ == "__main__":
    main()
