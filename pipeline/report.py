"""report.html: one self-contained page that shows what a build made, and the console's funnel table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.table import Table

from pipeline.balance import STAGE as BALANCE
from pipeline.funnel import Funnel, StageCount
from pipeline.plots import density_histograms, shortcut_bars, to_svg, tpl_by_length, tpl_histogram
from pipeline.storage import Place, write, writing
from pipeline.strip import Strip, strip
from pipeline.tally import MAX_LISTED, Exhibit, Tally
from schemas.manifest import Manifest
from schemas.outcome import Reason
from schemas.sample import SelectedClip
from stages.algorithms.closed import ASKS
from stages.algorithms.shortcuts import MAX_DRAWN
from stages.media.child import ReadError

REPORT = "report.html"
LoadFrames = Callable[[SelectedClip], np.ndarray]  # planned frames of a clip: uint8 RGB (T, H, W, 3), in any size
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Shown:
    """An exhibit as the template reads it."""

    exhibit: Exhibit
    strip: Strip

    @property
    def turns(self) -> list[tuple[str, str]]:
        """Questions and answers."""
        said = [message.content.removeprefix("<video>\n") for message in self.exhibit.sample.messages]
        return list(zip(said[::2], said[1::2], strict=True))


def write_report(out: Place, manifest: Manifest, tally: Tally, load_frames: LoadFrames) -> Place:
    """Writes out/report.html."""
    path = out / REPORT
    page = render(manifest, tally, load_frames)
    with writing(path):
        write(path, page.encode())
    return path


def render(manifest: Manifest, tally: Tally, load_frames: LoadFrames) -> str:
    """The page as HTML, which needs no other file and no network."""
    shown: list[Shown] = []
    unreadable: list[str] = []
    for exhibit in tally.gallery():
        try:
            shown.append(Shown(exhibit, strip(exhibit, load_frames(exhibit.clip))))
        except ReadError as error:  # the shards are sealed and right; a film that has gone since is news, no failure
            unreadable.append(str(error))
    points = tally.points
    template = environment().get_template("report.html.j2")
    return template.render(
        manifest=manifest,
        tally=tally,
        shown=shown,
        unreadable=unreadable,
        histogram=to_svg(tpl_histogram(points)) if points else None,
        lengths=to_svg(tpl_by_length(points)) if points else None,
        guessed=to_svg(shortcut_bars(tally.shortcuts_before, tally.shortcuts)) if tally.shortcuts else None,
        dense=to_svg(density_histograms(tally.densities)) if tally.densities else None,
        what_is_asked=ASKS,
        dropped=tally.reasons["skip", BALANCE, str(Reason.IMBALANCE)],
        max_drawn=MAX_DRAWN,
        seconds={line.stage: line.seconds for line in manifest.run.stages} if manifest.run else {},
        counted=manifest.run.counted if manifest.run else (),
        ended=(tally.listed["failure"] + tally.listed["skip"])[:MAX_LISTED],
        reasons_counted=sorted(tally.reasons.items(), key=lambda item: (item[0][0], -item[1], item[0])),
    )


def environment() -> Environment:
    """Templates of this package; everything is escaped, and a name that is not there is an error."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def funnel_table(funnel: Funnel) -> Table:
    """What became of every row, a line a stage, for the console; what stages count is its caption."""
    said = [f"{stage}: {_counted(count)}" for stage, count in funnel.stages.items() if count.counted]
    caption = "\n".join(said) or None
    table = Table(title="Funnel", title_justify="left", header_style="bold", caption=caption, caption_justify="left")
    for head in ("stage", "in", "out", "skipped", "failed", "seconds"):
        table.add_column(head, justify="right" if head in ("in", "out", "seconds") else "left", overflow="fold")
    for stage, count in funnel.stages.items():
        table.add_row(
            stage,
            f"{count.rows_in:,}",
            f"{count.rows_out:,}",
            _reasons(count.skipped),
            f"[red]{_reasons(count.failed)}[/red]" if count.failed else "",
            f"{count.seconds:.1f}",
        )
    return table


def _counted(count: StageCount) -> str:
    return ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in count.counted.items())


def _reasons(counts: dict[str, int]) -> str:
    return "\n".join(f"{rows:,} {reason}" for reason, rows in sorted(counts.items(), key=lambda item: -item[1]))
