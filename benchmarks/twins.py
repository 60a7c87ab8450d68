"""Does the scorer change its mind when a film is shown otherwise, and keep it where nothing changes?

    python -m benchmarks.twins [--films N]      writes benchmarks/results/twins.{md,json}

Held-out generated films, their questions of the families that the scorer was taught, and those questions about twins.
Both answers are read with both films. Flipped: the film's own answer is likelier with the film, and the twin's with the
twin; by guessing that is a quarter. Kept: the one answer is likelier than a wrong one, which another twin would have,
with the film and with the twin.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from benchmarks.machine import machine
from benchmarks.validation_stats import Figure, interval, mean
from pipeline.held_out import Film, held_out
from schemas.sample import Sample
from stages.algorithms.ask_twin import CHANGES, KEEPS
from stages.algorithms.asking import Program, Rendered, Unanswerable
from stages.algorithms.compose import compose
from stages.algorithms.questions import render
from stages.algorithms.tpl import HELD, VIDEO, Context, nats
from stages.algorithms.twins import KINDS, showing
from stages.models.load import load_scorer
from stages.models.protocols import Scorer, Target

RESULTS = Path(__file__).parent / "results"
SEED = 90_001
FAMILIES = ("where", "when", "direction", "twin")
MAX_TWINS = 10


@dataclass(frozen=True, slots=True)
class Pair:
    """A question about a film and about its twin: which of two answers is likelier with each."""

    film: int
    kind: str
    family: str
    effect: str
    on_film: bool  # the film's own answer is the likelier one
    on_twin: bool  # the twin's is

    @property
    def both(self) -> bool:
        return self.on_film and self.on_twin


def pairs(scorer: Scorer, films: int, n_frames: int) -> Iterator[Pair]:
    for k in track(range(films), description="films"):
        film = held_out(SEED, k, n_frames)
        samples = compose(
            film.scene, clip_id=film.film_id, seed=0, caption_share=0.0, families=FAMILIES, max_twins=MAX_TWINS
        )
        for sample in samples:
            if sample.twin and sample.risk <= 0.75 and sample.twin_effect in (CHANGES, KEEPS):
                yield from _pair(scorer, film, k, sample)


def _pair(scorer: Scorer, film: Film, number: int, sample: Sample) -> Iterator[Pair]:
    program = json.loads(sample.program)
    base, twin = render(film.scene, program["of"]), render(film.scene, program)
    wrong = twin if sample.twin_effect == CHANGES else _another(film, program, base)
    if wrong is None:
        return
    shown = showing(program["kind"], film.n_frames, program["at"])
    plain, flipped = film.frames_THWC, np.ascontiguousarray(film.frames_THWC[:, :, ::-1])
    order = tuple(i - 1 for i in shown.order)
    on_film = _gain(scorer, plain, film.times, Context(VIDEO, None, tuple(range(film.n_frames))), base, wrong)
    on_twin = _gain(scorer, flipped if shown.mirrored else plain, film.times, Context(HELD, None, order), base, wrong)
    changes = sample.twin_effect == CHANGES
    yield Pair(number, program["kind"], sample.family, str(sample.twin_effect), on_film > 0, (on_twin < 0) == changes)


def _another(film: Film, program: Mapping[str, Any], base: Rendered) -> Rendered | None:
    """What some other twin would be answered, where that is not the same."""
    for kind in KINDS:
        for at in range(film.n_frames + 1):
            other: Program = {"op": "twin", "kind": kind, "at": at, "of": program["of"]}
            try:
                said = render(film.scene, other)
            except Unanswerable:
                continue
            if said.twin_effect == CHANGES:
                return said
    return None


def _gain(
    scorer: Scorer, frames_THWC: np.ndarray, times: list[str], context: Context, one: Rendered, other: Rendered
) -> float:
    """Nats by which the first answer is likelier than the other."""
    targets = [Target(str(i), one.question, said.answer) for i, said in enumerate((one, other))]
    read = scorer.watch(frames_THWC, times).read(targets, [context])
    first, second = (nats(str(i), r.token_id, context, r.logprob[0]) for i, r in enumerate(read))
    return second - first


def tables(found: list[Pair]) -> dict[str, dict[str, dict[str, Figure]]]:
    """By effect, by kind and by family: rates with intervals over films."""
    groups: defaultdict[str, defaultdict[str, list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for pair in found:
        for key in (f"{pair.kind} films", f"question: {pair.family}", "all"):
            groups[pair.effect][key].append(pair)
    return {
        effect: {
            key: {
                name: _rate([getattr(p, field) for p in those], [p.film for p in those])
                for name, field in (("both", "both"), ("with the film", "on_film"), ("with the twin", "on_twin"))
            }
            for key, those in sorted(rows.items())
        }
        for effect, rows in groups.items()
    }


def _rate(hits: list[bool], films: list[int]) -> Figure:
    values = np.array(hits, float)
    return interval(lambda weights: mean(values, weights), films)


def markdown(result: Mapping[str, Any], found: Mapping[str, Mapping[str, Mapping[str, Figure]]]) -> str:
    lines = [
        "# Twins", "",
        f"`python -m benchmarks.twins`, scorer {result['scorer']}, {result['films']} held-out generated films, "
        f"{result['cpu_s']:.0f} CPU s on {result['machine']}. Shares right with 95 % intervals over films; guessing "
        "has a quarter of both, half of each.", "",
    ]  # fmt: skip
    for effect, rows in sorted(found.items()):
        head = "Flipped" if effect == CHANGES else "Kept"
        lines += [f"## {effect}", "", f"| | pairs | {head} (both) | with the film | with the twin |", "|-|-:|-|-|-|"]
        lines += [
            f"| {key} | {row['both'].n} | {' | '.join(str(figure) for figure in row.values())} |"
            for key, row in rows.items()
        ]
        lines += [""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--films", type=int, default=200)
    parser.add_argument("--scorer", default="embedded")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    began, scorer = time.process_time(), load_scorer(asked.scorer)
    found = list(pairs(scorer, asked.films, scorer.n_frames or 8))
    card = scorer.card(held_out(SEED, 0, scorer.n_frames or 8).frames_THWC)
    facts = {
        "scorer": card.scorer, "films": asked.films, "cpu_s": time.process_time() - began, "machine": machine(),
    }  # fmt: skip
    rates = tables(found)
    plain = {e: {k: {n: [f.value, f.low, f.high, f.n] for n, f in r.items()} for k, r in rows.items()}
             for e, rows in rates.items()}  # fmt: skip
    (asked.out / "twins.json").write_text(json.dumps({**facts, "rates": plain}, indent=1) + "\n")
    (asked.out / "twins.md").write_text(markdown(facts, rates))


if __name__ == "__main__":
    main()
