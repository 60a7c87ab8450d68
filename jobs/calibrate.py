"""Measures from which size on a gain of a scorer is a gain: `python jobs/calibrate.py --scorer S --out CARD.json`.

Any scorer that can be loaded: the card is put beside its checkpoint as scorer.json, and verdicts follow it.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if __name__ == "__main__":  # a script of a submitted job: its folder is jobs/, the packages lie beside it
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.calibrate import FILMS, Calibration, TooFewControls
from pipeline.calibrate import calibrate as calibrated
from stages.models.checkpoint import NoScorer, find
from stages.models.protocols import TooLong

UNCALIBRATED_FRAMES = 32  # DESIGN section 3


def calibrate(
    scorer: Annotated[str, typer.Option(help="Folder, hub id, or embedded.")],
    out: Annotated[Path, typer.Option(help="The card, JSON. What else it or the scorer's own card says is kept.")],
    frames: Annotated[int | None, typer.Option(help="Frames of a plan; default: the scorer's, else 32.")] = None,
    films: Annotated[int, typer.Option(help="Generated films; fewer make bins of length wider.")] = FILMS,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Calibrate a scorer's thresholds on generated films, for one number of frames. The embedded one: 2 minutes."""
    console, err = Console(), Console(stderr=True)
    try:
        card, found = _card(scorer, out, frames, films, dtype, device, err)
    except (NoScorer, TooFewControls, TooLong, FloatingPointError, NotACard) as error:
        err.print(f"error: {error}", style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    out.write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")
    console.print(_table(found))
    console.print(f"card: {out}", highlight=False, soft_wrap=True)


class NotACard(ValueError):
    """What lies at --out is something else, or nothing can lie there."""


def _card(
    scorer: str, out: Path, frames: int | None, films: int, dtype: str, device: str, err: Console
) -> tuple[dict[str, Any], Calibration]:
    from stages.models.load import load_scorer

    base = _base(scorer, out)
    loaded = load_scorer(scorer, dtype=dtype, device=device)
    n_frames = frames or loaded.n_frames or UNCALIBRATED_FRAMES
    columns = (TextColumn("calibrating"), BarColumn(), MofNCompleteColumn(), TextColumn("films"), TimeElapsedColumn())
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("films", total=films)
        found = calibrated(loaded, n_frames=n_frames, films=films, done=lambda n: progress.update(task, completed=n))
    return found.into(base), found


def _base(scorer: str, out: Path) -> dict[str, Any]:
    """The card that is there, at --out or beside the scorer, else one that names the scorer."""
    if not out.parent.is_dir():
        raise NotACard(f"--out {out}: there is no folder {out.parent}")
    found = find(scorer)
    if not out.exists():
        return found.card or {"id": found.name}
    try:
        card = json.loads(out.read_text())
    except ValueError as error:
        raise NotACard(f"--out {out} is no JSON ({error}); give another name") from error
    if not isinstance(card, dict) or "id" not in card:
        raise NotACard(f"--out {out} is no card of a scorer: it has no id; give another name")
    return card


def _table(found: Calibration) -> Table:
    table = Table(title=f"95th percentiles of controls, nats, T = {found.n_frames}, {found.films} films")
    for column in ("tokens", "text_gain", "tpl_key", "order_gain", "controls"):
        table.add_column(column, justify="right")
    first = 1
    for b in found.thresholds.bins:
        tokens = f"{first} and more" if b.max_tokens is None else f"{first} to {b.max_tokens}"
        order = "" if b.order_gain is None else f"{b.order_gain:.3g}"
        table.add_row(tokens, f"{b.text_gain:.3g}", f"{b.tpl_key:.3g}", order, str(b.controls))
        first = (b.max_tokens or 0) + 1
    return table


if __name__ == "__main__":
    typer.run(calibrate)
