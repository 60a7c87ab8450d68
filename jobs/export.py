"""Conversations about the frames that a trainer shows: `utr export OUT --for qwen-vl --frames 8 --to DIR`."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.table import Table

from jobs.arguments import local_folder
from jobs.console import Console
from jobs.ending import exit_code, refused
from pipeline.build import NotOurs
from pipeline.export import export
from pipeline.footage import Options
from pipeline.formats.trainers import TRAINERS, Exported, files
from pipeline.storage import Place, place, write, writing
from pipeline.verify import NotADataSet
from schemas.sample import Drop
from stages.algorithms import rewards
from stages.algorithms.answer_formats import FORMATS
from stages.algorithms.samplers import LLAMA_FACTORY_FPS, LLAVA_NEXT_FPS, Budget
from stages.media.reader import Reader

ACCOUNT = "export.json"
DROPPED, SHOWN = "dropped.parquet", "shown.jsonl"
OWN_FPS = {"llava-next": LLAVA_NEXT_FPS, "llama-factory": LLAMA_FACTORY_FPS}


@dataclass(frozen=True, slots=True)
class Written:
    rows: list[Exported]
    drops: list[Drop]


def export_command(
    out: Annotated[str, typer.Argument(help="Folder of the data set, by path or URL.")],
    trainer: Annotated[str, typer.Option("--for", help=f"{', '.join(TRAINERS)}.")],
    frames: Annotated[int, typer.Option(help="That the trainer shows of a clip, at most.")],
    to: Annotated[Path, typer.Option(parser=local_folder, help="Folder of the export.")],
    fps: Annotated[
        float | None, typer.Option(help="Frames a second, where that is fewer; default: the loader's.")
    ] = None,
    boxes: Annotated[str, typer.Option(help=f"How boxes and times are written: {', '.join(FORMATS)}.")] = "paper",
    rl: Annotated[bool, typer.Option("--rl", help="Prompts and rewards, with the verifier beside them.")] = False,
    videos: Annotated[str | None, typer.Option(help="Where the films lie; default: as the set says.")] = None,
) -> None:
    """Write a trainer's own format: answers rendered again for the frames that its loader shows, or dropped."""
    console = Console()

    def job() -> int:
        options = Options(trainer=trainer, budget=Budget(frames=frames, fps=fps), boxes=boxes, rl=rl)
        if why := refusal(options):
            return refused(console, why)
        try:
            done = write_export(place(out), to, options, videos=videos)
        except NotADataSet as error:
            return refused(console, str(error))
        console.out.print(table(done))
        console.out.print(
            f"{to}: set the trainer to: {settings(options)}", highlight=False, soft_wrap=True, markup=False
        )
        return 0 if done.rows else 4

    raise typer.Exit(exit_code(console, job))


def refusal(options: Options) -> str | None:
    """Why these options do not go together; None where they do."""
    budget, name = options.budget, options.trainer
    if name not in TRAINERS:
        return f"--for {name}: {', '.join(TRAINERS)}"
    if options.boxes not in FORMATS:
        return f"--boxes {options.boxes}: {', '.join(FORMATS)}"
    if budget.frames < 2 or (budget.fps is not None and budget.fps <= 0):
        return "--frames is at least 2, --fps above 0"
    if TRAINERS[name].rows_tell and budget.frames % 2:
        return f"--frames {budget.frames}: {name} merges frames in pairs; give an even number"
    if name == "llava-next" and budget.fps not in (None, int(budget.fps or 1)):
        return f"--fps {budget.fps}: LLaVA-NeXT's --video_fps is a whole number"
    if options.boxes == "qwen2.5" and name not in ("qwen-vl", "ms-swift"):
        return f"--boxes qwen2.5: pixels of frames as qwen-vl-utils resizes them; {name} resizes otherwise"
    if options.rl and TRAINERS[name].prompt is None:
        return f"--rl: {name} takes no rewards of its own; {', '.join(k for k, t in TRAINERS.items() if t.prompt)} do"
    if options.rl and options.boxes == "molmo":
        return "--rl --boxes molmo: points have no IoU; choose another --boxes"
    return None


def settings(options: Options) -> str:
    """What the trainer must be told, else it shows other frames than the texts are about."""
    fps = options.budget.fps or OWN_FPS.get(options.trainer)
    sampling = f"num_frames={options.budget.frames}" if options.budget.fps is None else f"fps={options.budget.fps:g}"
    text = TRAINERS[options.trainer].settings
    return text.format(frames=options.budget.frames, fps=f"{fps:g}" if fps else "", sampling=sampling)


def write_export(out: Place, to: Path, options: Options, *, videos: str | None = None) -> Written:
    """Every sample is a row of the files or of dropped.parquet. Raises NotOurs, NotADataSet, PublishError."""
    if to.exists() and any(to.iterdir()) and not (to / ACCOUNT).is_file():
        raise NotOurs(f"{to} holds {sorted(p.name for p in to.iterdir())[0]} and is no export; choose another --to")
    rows: list[Exported] = []
    drops: list[Drop] = []
    with Reader() as reader:
        for found in export(out, options, reader, videos=videos):
            if isinstance(found, Drop):
                drops.append(found)
            else:
                rows.append(found)
    texts = files(options.trainer, rows, rl=options.rl)
    texts[SHOWN] = "".join(f"{_shown(row)}\n" for row in rows)
    if options.rl:
        texts["rewards.py"] = Path(rewards.__file__).read_text(encoding="utf-8")
    with writing(to):
        _remove_earlier(to)
        for name, text in texts.items():
            write(to / name, text.encode())
        sink = pa.BufferOutputStream()
        pq.write_table(Drop.to_arrow(drops), sink)
        write(to / DROPPED, sink.getvalue().to_pybytes())
        account = _account(out, options, rows, drops) | {"files": sorted([*texts, DROPPED])}
        write(to / ACCOUNT, (json.dumps(account, indent=1) + "\n").encode())
    return Written(rows, drops)


def _remove_earlier(to: Path) -> None:
    """The files of an earlier export, and its account last, so that a killed one is known as ours."""
    if (to / ACCOUNT).is_file():
        for name in json.loads((to / ACCOUNT).read_text(encoding="utf-8"))["files"]:
            (to / Path(name).name).unlink(missing_ok=True)


def table(done: Written) -> Table:
    """In, out, and dropped by reason."""
    found = Table(title="Export", title_justify="left", header_style="bold")
    found.add_column("samples")
    found.add_column("", justify="right")
    found.add_row("in", f"{len(done.rows) + len(done.drops):,}")
    found.add_row("out", f"{len(done.rows):,}")
    for reason, count in Counter(drop.reason for drop in done.drops).most_common():
        found.add_row(f"dropped: {reason}", f"{count:,}")
    return found


def _shown(row: Exported) -> str:
    told = {"sample_id": row.sample_id, "frame_tick": row.frame_tick, "program": row.program}
    return json.dumps(told)


def _account(out: Place, options: Options, rows: list[Exported], drops: list[Drop]) -> dict[str, object]:
    return {
        "set": str(out),
        "engine": f"utr-engine {version('utr-engine')}",
        "options": asdict(options),
        "settings": settings(options),
        "in": len(rows) + len(drops),
        "out": len(rows),
        "dropped": dict(Counter(drop.reason for drop in drops).most_common()),
    }
