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

from benchmarks.machine import machine  # noqa: E402
from benchmarks.validation_plots import plot  # noqa: E402
from benchmarks.validation_rows import Row, rows  # noqa: E402
from benchmarks.validation_stats import RESAMPLES, Figure  # noqa: E402
from benchmarks.validation_tables import (  # noqa: E402
    ALL,
    COLUMNS,
    WORDS,
    by_kind,
    certificates,
    kinds,
    needs_time,
    order_dependence,
    passed,
    passed_frames,
    sets,
    stability,
    verdicts,
)
from stages.models.load import load_scorer  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
NOTES = {
    WORDS: "The kinds that are made of words: static, motion, order, ends, appears, dense (a track in words: the "
    "timeline).",
    ALL: "The same, with texts that are mostly box coordinates: `shown` (who is where at one frame, with boxes) and "
    "`track` (the box of a subject at each frame). A box text is long and of numbers. Where the scorer cannot read "
    "those from frames (`explained` below), their noise is summed over dozens of tokens and drowns what time adds: "
    "then rank no box texts by `tpl_key`, and score what they tell in words, as a timeline.",
}
KINDS_NOTE = (
    "All films and texts. explained: the share of the nats without video that the video takes away (text_gain / "
    "nll_text, pooled): near zero, the scorer does not read what the text says, and no score of it means much. AUC: of "
    "`tpl_key`, against all texts of the other label."
)
CERTIFICATES_NOTE = (
    "Held, each frame of a certificate stands for its nearest neighbours. It is enough if the film so made tells "
    "what the whole film tells, by the world's truth: of a caption, whether each subject is there in the beginning, "
    "its first and last place, whether it is there at the end; of a timeline, who is where frame by frame. Needed: the "
    "frames of a smallest set that is enough; recall is that of the set which the certificate has most of."
)
STABILITY_NOTE = "Spearman over the same true texts, with 95 % intervals over films."
NO_STABILITY = "Not measured in this run: `--scorers A B` compares two."


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
    result: dict[str, Any] = {
        "scorer": load_scorer(first).name,
        "n_frames": given.frames,
        "films": given.films,
        "needs_time": {name: needs_time(own) for name, own in sets(found).items()},
        "kinds": kinds(found),
        "order": order_dependence(found, load_scorer(first).thresholds),
        "certificates": certificates(found),
        "verdicts": verdicts(found),
        "stability": {load_scorer(name).name: stability(found, measured[name]) for name in others},
        "machine": f"{machine()}, Python {platform.python_version()}",
        "cpu_s": 0.0,
    }
    result["cpu_s"] = round(time.process_time() - start, 1)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.with_suffix(".json").write_text(json.dumps(result, indent=1, default=asdict) + "\n")
    given.out.with_suffix(".md").write_text(markdown(result))
    plot(given.out.with_suffix(".png"), result["needs_time"][WORDS], by_kind(found), result["machine"])
    Console().print(markdown(result), markup=False, highlight=False, soft_wrap=True)


def _measured(scorer: str, films: int, n_frames: int) -> list[Row]:
    loaded = load_scorer(scorer)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"films for {scorer}", total=films)

        def done(n: int) -> None:
            progress.update(task, completed=n)

        return list(rows(loaded, films=films, n_frames=n_frames, done=done))


def markdown(result: Mapping[str, Any]) -> str:
    """The report: one table a question, figures with 95 % intervals."""
    lines = [
        "# Does TPL measure what it says?",
        "",
        f"Scorer {result['scorer']}, T = {result['n_frames']}, {result['films']} held-out generated films, "
        f"{result['cpu_s']:.0f} CPU s on {result['machine']}. Figures with 95 % intervals: {RESAMPLES} draws of films.",
        "",
        "## AUC of needs-time",
        "Positive: no single planned frame, seen as a picture, gives the text, by the world's truth and not by its "
        "kind. Mismatched: texts of another film among the negatives. Length-matched: both weighted to one "
        "distribution of lengths.",
        "",
    ]
    for name, auc in result["needs_time"].items():
        lines += [f"### {name[0].upper()}{name[1:]}", NOTES[name], "", *_auc_table(auc), ""]
        lines += [*[f"- {line}" for line in passed(auc)], ""]
    lines += ["### By kind", KINDS_NOTE, "", *_figures("kind of text", result["kinds"]), ""]
    lines += ["## Order-dependence", "Label: the composer would not say the text of the frames in that order.", ""]
    order = [[k, str(f), str(f.n)] for k, f in result["order"].items()]
    lines += [*_table(["figure", "value", "texts or orders"], order), "", "## Certificates", CERTIFICATES_NOTE, ""]
    certified = {f"{k} ({next(iter(f.values())).n} texts)": f for k, f in result["certificates"].items()}
    lines += [*_turned("figure", certified), "", *[f"- {line}" for line in passed_frames(result["certificates"])], ""]
    verdicts = result["verdicts"]
    names = sorted({v for row in verdicts.values() for v in row})
    lines += ["## Verdicts", ""]
    lines += _table(["text", *names], [[k, *(str(row.get(v, 0)) for v in names)] for k, row in verdicts.items()])
    lines += ["", "## Stability across scorers", STABILITY_NOTE if result["stability"] else NO_STABILITY, ""]
    for other, found in result["stability"].items():
        lines += [f"**{result['scorer']} and {other}**", "", *_turned("quantity", found), ""]
    return "\n".join([*lines, "![plot](tpl_validation.png)", ""])


def _auc_table(auc: Mapping[str, Mapping[str, Figure]]) -> list[str]:
    texts = next(iter(auc.values()))
    return [*_figures("score", auc), f"| *texts compared* | {' | '.join(str(texts[c].n) for c in COLUMNS)} |"]


def _figures(head: str, rows: Mapping[str, Mapping[str, Figure]]) -> list[str]:
    """A row for each key, a column for each figure."""
    columns = list(next(iter(rows.values())))
    return _table([head, *columns], [[name, *(str(row[c]) for c in columns)] for name, row in rows.items()])


def _turned(head: str, columns: Mapping[str, Mapping[str, Figure]]) -> list[str]:
    """A column for each key, a row for each figure."""
    names = dict.fromkeys(name for column in columns.values() for name in column)
    return _figures(head, {name: {k: column[name] for k, column in columns.items()} for name in names})


def _table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (heads, ["-"] * len(heads), *body)]


if __name__ == "__main__":
    main()
