"""`utr doctor`: loads a scorer, reads one generated clip with it and by brute force, and says what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.table import Table

from jobs.console import Console
from stages.algorithms.world import World, random_world
from stages.models.checkpoint import NoScorer, find
from stages.models.protocols import NotSeparable, Target, TooLong

if TYPE_CHECKING:  # torch is imported once the command line is known to make sense
    from stages.models.checkup import Checkup, Scene

DTYPES = ("float32", "bfloat16")
SEED = 7
QUESTION = "What happens in this video?"
UNUSABLE, WRONG = 2, 6  # exit codes, as in jobs/cli.py


def doctor_command(
    model: Annotated[str, typer.Option(help='Checkpoint folder, hub id (org/name), or "embedded".')] = "embedded",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
    dtype: Annotated[str | None, typer.Option(help=f"One of them only; default: {' and '.join(DTYPES)}.")] = None,
    frames: Annotated[int, typer.Option(min=1, help="Of the clip.")] = 8,
    max_pixels: Annotated[int | None, typer.Option(help="Of a frame, where the family reads many sizes.")] = None,
) -> None:
    """Check that a scorer can be used here: exactness, batches, single frames, floors, speed."""
    raise typer.Exit(doctor(model, device=device, dtype=dtype, frames=frames, max_pixels=max_pixels))


def doctor(model: str, *, device: str, dtype: str | None, frames: int, max_pixels: int | None) -> int:
    """Prints what was found; the exit code: 0 sound, 2 cannot be used as asked, 6 gives wrong numbers or breaks."""
    console = Console()
    try:
        find(model)
        from stages.models.checkup import check_up

        dtypes = (dtype,) if dtype else DTYPES
        found = check_up(model, _scene(frames), dtypes=dtypes, device=device, max_pixels=max_pixels)
    except NoScorer as error:
        return _ended(console, f"error: {error}", UNUSABLE)
    except TooLong as error:
        return _ended(console, f"error: {error}. Fewer --frames or a lower --max-pixels help.", UNUSABLE)
    except NotSeparable as error:
        return _ended(console, f"error: {error}. This chat template cannot be cut; please report it.", UNUSABLE)
    except (RuntimeError, MemoryError) as error:  # torch's: out of memory, a kernel that is missing
        what = f"{type(error).__name__}: {error}"
        return _ended(console, f"{what}. Try --dtype bfloat16, fewer --frames, or --device cpu.", WRONG)
    console.out.print(_facts(found, frames), _formats(found))
    for problem in found.problems:
        console.out.print(f"wrong: {problem}", style="red", highlight=False, soft_wrap=True)
    if not found.problems:
        console.out.print("sound: the engine gives what brute force gives", style="green", highlight=False)
    return WRONG if found.problems else 0


def _scene(frames: int) -> Scene:
    """A generated clip, a true text, and one of other subjects with an earlier turn."""
    from stages.models.checkup import Scene

    rng = np.random.default_rng(SEED)
    world, other = random_world(rng), random_world(rng)
    times_s = [(k + 0.5) * world.duration_s / frames for k in range(frames)]
    return Scene(
        render=lambda side_px: np.stack([world.render(t, side_px) for t in times_s]),
        times=tuple(f"{t:.2f} s" for t in times_s),
        targets=(
            Target("true", QUESTION, _told(world)),
            Target("other", QUESTION, _told(other), (("Who is it about?", "Shapes."),)),
        ),
    )


def _told(world: World) -> str:
    return "; ".join(f"a {s.name}: {', then '.join(leg.word for leg in s.legs)}" for s in world.shapes) + "."


def _facts(found: Checkup, frames: int) -> Table:
    height, width = found.size_HW
    unit = f"{found.tokens_a_unit} tokens a {'pair of frames' if found.frames_a_unit == 2 else 'frame'}"
    table = Table(title=found.scorer, title_justify="left", show_header=False)
    table.add_row("model", f"{found.family}, {found.parameters / 1e6:.3g} M parameters, on {found.device}")
    table.add_row("frames", f"{height} x {width} px, {unit}")
    table.add_row("context", f"{found.prefix_tokens} tokens with all {frames} frames; the model reads {found.limit}")
    table.add_row("calibrated", "yes" if found.calibrated else "no: scores have no verdict (utr calibrate)")
    table.add_row("the clip's text, another", " / ".join(f"{nll:.2f}" for nll in found.nll) + " nats")
    return table


def _formats(found: Checkup) -> Table:
    table = Table(title="in nats a token, largest (and 99th percentile)", title_justify="left")
    table.add_column("")
    for f in found.formats:
        table.add_column(f.dtype if f.finite else f"{f.dtype}: NOT FINITE", justify="right")
    off = [f"({f.off_p99:.2g})" if f.off_p99 is not None else "" for f in found.formats]
    table.add_row("floor: engine to brute force", *(f"{f.floor:.2g} ({f.floor_p99:.2g})" for f in found.formats))
    table.add_row("the same, single frames", *(f"{f.single_frame:.2g}" for f in found.formats))
    table.add_row("alone to in company", *(f"{f.batch:.2g}" for f in found.formats))
    table.add_row("brute force to float32", *off)
    table.add_row("clips a second", *(f"{f.clips_a_s:.3g}" for f in found.formats))
    table.add_row("tokens a second", *(f"{f.tokens_a_s:.0f}" for f in found.formats))
    return table


def _ended(console: Console, why: str, code: int) -> int:
    console.err.print(why, style="red", highlight=False, soft_wrap=True)
    return code
