"""What benchmarks/engine.py found, for people; a target that is missed says so."""

from collections.abc import Callable, Iterator
from typing import Any

MOST_OVER_FLOOR = 2.0
LEAST_RANK = 0.9
MOST_OVER_LOOP = 1.15
MOST_DECODES = 2.1
TOOLS = {
    "floor": "decoding alone",
    "scenedetect": "PySceneDetect alone",
    "split": "SplitShots: shots, motion, camera, hashes",
    "farneback": "Farneback loop, 2 frames a second, full size",
}

KINDS = {"speed": "one shape", "drawn": "shape, colour, size and direction drawn"}
JUICER = {"start": "imports", "scenes": "scenes: detects and cuts files", "motion": "motion filter: Farneback"}


def table(found: dict[str, Any]) -> str:
    """Markdown of the parts that were run."""
    lines = [
        "# Where the engine's time goes",
        "",
        "`python -m benchmarks.engine FOLDER`; CPU seconds with all children.",
    ]
    for part, tell in TELL.items():
        if part in found:
            facts = found[part]
            where = f"Machine: {facts['machine']}; load average before: {facts['load_before']:g}."
            lines += ["", *tell(facts), "", where]
    return "\n".join(lines) + "\n"


def verdict(value: float, bound: float, *, at_most: bool) -> str:
    """The number beside its target, and whether it is reached."""
    reached = value <= bound if at_most else value >= bound
    return f"{value:.2f} (target {'<=' if at_most else '>='} {bound:g}: {'reached' if reached else '**missed**'})"


def over_floor(part: dict[str, Any]) -> float:
    """CPU seconds of the stage over those of decoding alone, all films together."""
    return _sum(part, "split") / _sum(part, "floor")


def over_loop(part: dict[str, Any], run: dict[str, Any], unit: str) -> float:
    """Ray over the plain loop, what a film of seconds costs taken off both."""
    return (run["whole"][unit] - run["start"][unit]) / (part["loop"][unit] - part["loop_start"][unit])


def efficiency(one: dict[str, Any], two: dict[str, Any]) -> float:
    """Share of the work of two cores that is not lost: 1 where two workers on two cores take half the time of one."""
    walls = [run["whole"]["wall_s"] - run["start"]["wall_s"] for run in (one, two)]
    return walls[0] / walls[1] / (two["cores"] / one["cores"])


def _sum(part: dict[str, Any], tool: str) -> float:
    return sum(film[tool]["cpu_s"] for film in part["films"])


def _split(part: dict[str, Any]) -> Iterator[str]:
    films = part["films"]
    yield from ("## Pass 1 beside what it does at once", "")
    yield (
        f"CPU seconds, median of {part['repeats']}. Decoding alone: {part['floor_by']}, one thread. SplitShots: worker "
        f"and decoder child, which is running; starting one costs {part['child_start']['cpu_s']:.1f} s."
    )
    yield from ("", *_header("", *(f["film"] for f in films), "all", "over decoding"))
    for tool, name in TOOLS.items():
        each = [f"{f[tool]['cpu_s']:.2f}" for f in films]
        total = _sum(part, tool)
        yield _row(name, *each, f"{total:.1f}", f"{total / _sum(part, 'floor'):.2f}")
    yield from ("", f"SplitShots over decoding: {verdict(over_floor(part), MOST_OVER_FLOOR, at_most=True)}.", "")
    for f in films:
        same = "PySceneDetect's" if f["same_cuts"] else f"**not** PySceneDetect's: {_listed(f['scenedetect_cuts'])}"
        yield f"- {f['film']}, {f['frames']} frames, cuts {_listed(f['cuts'])}: {same}"
    yield from (
        "",
        "Motion scores: Spearman with Farneback's on films of the generated world, .02 to 1.5 sides a second",
    )
    yield ""
    for name, r in part["rank"].items():
        yield (
            f"- {KINDS[name]}, {r['films']} films: SplitShots {verdict(r['split'], LEAST_RANK, at_most=False)}, "
            f"FilterClips (DIS) {r['filter']:.2f}; Farneback with the true speed {r['farneback_to_speed']:.2f}"
        )


def _build(part: dict[str, Any]) -> Iterator[str]:
    loop, local, d = part["loop"], part["local"], part["decodes"]
    yield from ("## The whole plan, from film to samples", "")
    yield f"bikes, motorway, vtest to {part['clips']} clips, default recipe, one thread; medians of {part['repeats']}."
    yield from ("", *_header("stage", "rows in", "CPU s", "wall s"))
    for s in part["stages"]:
        yield _row(s["stage"], str(s["rows_in"]), f"{s['cpu_s']:.2f}", f"{s['wall_s']:.2f}")
    yield _row("plain loop over them", "", f"{loop['cpu_s']:.1f}", f"{loop['wall_s']:.1f}")
    yield _row("local runner", "", f"{local['cpu_s']:.1f}", f"{local['wall_s']:.1f}")
    over = verdict(part["over_loop"], MOST_OVER_LOOP, at_most=True)
    yield from ("", f"Local runner over the plain loop, CPU: {over}.", "")
    yield (
        "Decodes of a frame that the plan looks at, for tracking or as a planned frame: "
        f"{verdict(d['per_needed_frame'], MOST_DECODES, at_most=True)}. It looks at {d['needed_frames']} of the films' "
        f"{d['film_frames']} frames; those between must be decoded too, so there are {d['decoded_frames']} decodes: "
        f"{d['per_film_frame']:.2f} a frame of film, {d['all_over_needed']:.2f} a frame looked at."
    )


def _rows(part: dict[str, Any]) -> Iterator[str]:
    yield from ("## What a stage that does nothing costs a row", "")
    yield from _header("row", "bytes", "runner", "CPU us", "wall us")
    for name, r in part["cost"].items():
        for runner in ("local", "ray"):
            cost = r[runner]
            yield _row(name, f"{r['row_bytes']:.0f}", runner, f"{cost['cpu_us']:.0f}", f"{cost['wall_us']:.0f}")


def _ray(part: dict[str, Any]) -> Iterator[str]:
    loop, runs = part["loop"], part["runs"]
    yield from ("## On Ray", "")
    yield "The same plan. Start: a film of seconds, so that all workers are up; it is taken off in the ratios."
    head = ("workers a stage", "cores", "start, wall s", "CPU s", "wall s", "CPU over the loop", "wall over the loop")
    yield from ("", *_header(*head))
    start_s = part["loop_start"]["wall_s"]
    yield _row("plain loop", "1", f"{start_s:.1f}", f"{loop['cpu_s']:.1f}", f"{loop['wall_s']:.1f}", "", "")
    for r in runs:
        over = (f"{over_loop(part, r, unit):.2f}" for unit in ("cpu_s", "wall_s"))
        whole = (f"{r['start']['wall_s']:.1f}", f"{r['whole']['cpu_s']:.1f}", f"{r['whole']['wall_s']:.1f}")
        yield _row(str(r["workers"]), str(r["cores"]), *whole, *over)
    over = verdict(over_loop(part, runs[0], "cpu_s"), MOST_OVER_LOOP, at_most=True)
    yield from ("", f"One worker a stage, CPU over the plain loop: {over}.")
    yield f"From the first of these lines to the last, scaling efficiency {efficiency(runs[0], runs[-1]):.2f}."


def _peers(part: dict[str, Any]) -> Iterator[str]:
    yield from ("## Data-Juicer, the films of pass 1, one process", "")
    if "not_run" in part:
        yield f"Not run here: {part['not_run']}."
        return
    yield (
        f"py-data-juicer {part['version']} in its own interpreter (benchmarks/peers/run_data_juicer.py); limits: "
        f"{part['timeout_s']:g} s and {part['memory_gb']:g} GiB a run. Imports are part of each run."
    )
    yield from ("", *_header("", "CPU s", "wall s", "peak GiB", "ended", "found"))
    for kind, name in JUICER.items():
        r = part[kind]
        told = ", ".join(f"{film}: {value:.3g}" for film, value in (r["found"] or {}).items())
        yield _row(name, f"{r['cpu_s']:.1f}", f"{r['wall_s']:.1f}", f"{r['peak_gb']:.1f}", r["how"], told)


def _header(*names: str) -> list[str]:
    return [_row(*names), "|-" * len(names) + "|"]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _listed(cuts: list[int]) -> str:
    return ", ".join(map(str, cuts)) or "none"


TELL: dict[str, Callable[[dict[str, Any]], Iterator[str]]] = {
    "split": _split,
    "build": _build,
    "rows": _rows,
    "ray": _ray,
    "peers": _peers,
}
