"""`utr ask FILM "What happens?"`: a model's own words about a film, as they come, and the frames that it was shown."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from jobs.arguments import local_folder
from jobs.console import Console
from jobs.ending import exit_code, refused
from pipeline.formats.read import locate
from pipeline.storage import write, writing
from schemas.time import seconds, spread
from stages.decode_clip import store_size
from stages.media.child import ReadError
from stages.media.jpeg import jpeg
from stages.media.reader import Reader
from stages.models.checkpoint import find
from stages.models.protocols import NotSeparable, TooLong

if TYPE_CHECKING:  # torch is imported once the command line is known to make sense
    from stages.models.transformers_scorer import TransformersScorer

FRAMES = 8  # where the model has no card that says a number
SIDE_PX = 480  # of a decoded frame at most, as in data sets and scores, unless more pixels are asked for
JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class Look:
    """Frames of a film, evenly spread over it."""

    frames_THWC: np.ndarray
    times_s: tuple[float, ...]  # from the film's beginning
    n_film: int  # frames that the film has

    @property
    def times(self) -> list[str]:
        return [f"{t:.2f} s" for t in self.times_s]


def ask_command(
    video: Annotated[str, typer.Argument(help="Film, by path or URL.")],
    question: Annotated[str, typer.Argument(help="What is asked about it.")],
    model: Annotated[str, typer.Option(help='Checkpoint folder, hub id (org/name), or "embedded".')] = "embedded",
    frames: Annotated[
        int | None, typer.Option(min=1, help=f"That are shown; default: the model card's, else {FRAMES}.")
    ] = None,
    prompt: Annotated[str, typer.Option(help="frames says which frames are shown, paper does not.")] = "frames",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="After which an answer is cut off.")] = 512,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    max_pixels: Annotated[int | None, typer.Option(help="Of a frame, where the family reads many sizes.")] = None,
    frames_to: Annotated[
        Path | None, typer.Option(parser=local_folder, help="Folder for the frames as the model saw them, as JPEGs.")
    ] = None,
) -> None:
    """Ask a model about a film. The answer goes to standard output, all else to standard error."""
    console = Console()

    def job() -> int:
        text = question.strip()
        if not text:
            return refused(console, "the question is empty")
        n_frames = frames or (find(model).card or {}).get("n_frames", FRAMES)
        try:
            look = look_at(video, n_frames, None if max_pixels else SIDE_PX)
        except ReadError as error:
            return refused(console, str(error))
        from stages.models.load import load_scorer

        scorer = load_scorer(model, dtype=dtype, device=device, prompt=prompt, max_pixels=max_pixels)
        if frames_to:
            save_frames(scorer.family.pixel.resize(look.frames_THWC), look.times, frames_to)
        try:
            return _answered(console, scorer, look, text, max_new_tokens)
        except TooLong as error:
            return refused(console, f"{error}: fewer --frames or a lower --max-pixels help")
        except NotSeparable as error:
            return refused(console, str(error))

    raise typer.Exit(exit_code(console, job))


def look_at(video: str, n_frames: int, max_side_px: int | None) -> Look:
    """Raises ReadError where the film cannot be read, or has no frame."""
    location = locate(video, str(Path.cwd()))
    with Reader() as reader:
        facts = reader.probe(location)
        if facts is None:
            raise ReadError(f"{location}: no stream of moving pictures in it; give a film")
        ticks = reader.packets(location).ticks
        plan = [ticks[i] for i in spread(len(ticks), n_frames)] if ticks else []
        if not plan:
            raise ReadError(f"{location}: no frame in it; give a film that has one")
        longest = max_side_px or max(facts.width_px, facts.height_px)
        frames = reader.frames(location, plan, *store_size(facts.width_px, facts.height_px, longest))
    base = facts.time_base_num, facts.time_base_den
    return Look(frames, tuple(seconds(t - facts.start_tick, *base) for t in plan), len(ticks))


def save_frames(frames_THWC: np.ndarray, times: list[str], folder: Path) -> None:
    """frame1_0.35s.jpg and so on; raises PublishError."""
    with writing(folder):
        for k, (frame, at) in enumerate(zip(frames_THWC, times, strict=True), start=1):
            write(folder / f"frame{k}_{at.replace(' ', '')}.jpg", jpeg(frame, quality=JPEG_QUALITY))


def _answered(console: Console, scorer: TransformersScorer, look: Look, question: str, max_new_tokens: int) -> int:
    from stages.models import answer

    family = scorer.family
    asked = answer.prompt(scorer.watch(look.frames_THWC, look.times), question)
    shown = "; ".join(f"frame{k}, {at}" for k, at in enumerate(look.times, start=1))
    _say(console, f"{scorer.name} is shown {len(look.times)} of {look.n_film} frames: {shown}")
    if scorer.card(look.frames_THWC).scorer_domain == "out":
        _say(console, f"{scorer.name} knows other films than this one, in {scorer.n_frames} frames", style="yellow")
    words, said, began = answer.Words(family.tokenizer), [], time.perf_counter()
    for token_id in answer.write(family, asked, max_new_tokens=max_new_tokens):
        said.append(token_id)
        typer.echo(words.add(token_id), nl=False)
    typer.echo(words.end())
    wall_s = time.perf_counter() - began
    _say(console, f"{len(asked.prefix)} tokens read, {len(said)} written in {wall_s:.1f} s")
    if said[-1] not in answer.end_marks(family):
        why = "--max-new-tokens" if len(said) == max_new_tokens else f"the model's limit of {family.limit} tokens"
        _say(console, f"cut off by {why}", style="yellow")
    return 0


def _say(console: Console, text: str, *, style: str = "dim") -> None:
    console.err.print(text, style=style, highlight=False, soft_wrap=True, markup=False)
