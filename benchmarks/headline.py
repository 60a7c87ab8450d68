"""How much more do our targets need the film than captions of the same clips do? Length-matched; digits apart.

    python -m benchmarks.headline [--films N]      writes benchmarks/results/headline.{md,json}

Held-out generated films, the scorer's thresholds not needed: TPL per token is what one frame, on average, lacks of what
the film tells (stages/algorithms/tpl.py). A caption of the common kind says who is there; ours says what happens. Both
are compared with the composed targets of the families that the scorer was taught. Length-matched: both sides weighted
to one distribution of lengths in bins of `BIN` tokens; where no length is shared there is no figure.
"""

import argparse
import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from benchmarks.machine import machine
from benchmarks.validation_stats import Figure, interval, matched, mean
from pipeline.held_out import Film, held_out
from pipeline.shapes.lessons import which
from schemas.sample import TargetScore
from stages.algorithms.asking import CAPTION_QUESTION
from stages.algorithms.compose import compose
from stages.algorithms.scene import global_caption
from stages.algorithms.tpl import FRAME, VIDEO
from stages.measure import Measures, measure
from stages.models.load import load_scorer
from stages.models.protocols import Target
from stages.models.transformers_scorer import TransformersScorer

RESULTS = Path(__file__).parent / "results"
SEED = 95_001
BIN = 4  # tokens
STATIC, OURS = "caption: who is there", "caption: what happens (ours)"
KINDS = ("all", "digits", "words")
NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Scored:
    """One target: nats a token that a single frame lacks on average, over all its tokens, its numbers, its words."""

    film: int
    family: str
    n_tokens: int
    tpl: Mapping[str, float]  # by KINDS; nan where it has no such token


def targets(film: Film) -> list[tuple[str, Target]]:
    static = which(film.scene)
    found = [(STATIC, Target("static", static.question, static.answer)),
             (OURS, Target("ours", CAPTION_QUESTION, global_caption(film.scene)))]  # fmt: skip
    for sample in compose(film.scene, clip_id=film.film_id, seed=0, caption_share=0.0):
        if sample.risk <= 0.75 and sample.family not in ("caption", "absent"):
            question, answer = (m.content.removeprefix("<video>\n") for m in sample.messages)
            found.append((sample.family, Target(sample.sample_id, question, answer)))
    return found


def scored(scorer: TransformersScorer, films: int, n_frames: int) -> Iterator[Scored]:
    for k in track(range(films), description="films"):
        film = held_out(SEED, k, n_frames)
        asked = targets(film)
        watched = scorer.watch(film.frames_THWC, film.times)
        scores = measure(
            watched, [target for _, target in asked], n_frames=n_frames, key=film.film_id, thresholds=None,
            measures=Measures(shuffles=0),
        )  # fmt: skip
        for (family, _), score in zip(asked, scores, strict=True):
            yield Scored(k, family, len(score.token_id), by_kind(score, scorer.family.tokenizer))


def by_kind(score: TargetScore, tokenizer: Any) -> dict[str, float]:
    """TPL per token of all tokens, of numbers and of the others."""
    (video,) = (np.array(c.token_logprob) for c in score.contexts if c.context == VIDEO)
    frames = np.stack([np.array(c.token_logprob) for c in score.contexts if c.context == FRAME])
    gain = video - frames.mean(0)
    number = np.array([bool(NUMBER.search(tokenizer.decode([i]))) for i in score.token_id])
    parts = {"all": gain, "digits": gain[number], "words": gain[~number]}
    return {kind: float(values.mean()) if len(values) else float("nan") for kind, values in parts.items()}


def difference(ours: Sequence[Scored], theirs: Sequence[Scored], kind: str) -> Figure:
    """Mean of that kind of our tokens less mean of all of theirs, length-matched, with the interval over films drawn
    again."""
    those = [s for s in ours if np.isfinite(s.tpl[kind])]
    rows = [*those, *theirs]
    is_ours = np.arange(len(rows)) < len(those)
    bins = np.array([s.n_tokens // BIN for s in rows])
    values = np.array([s.tpl[kind] for s in those] + [s.tpl["all"] for s in theirs])

    def statistic(weights: np.ndarray) -> float:
        even = matched(bins, is_ours, weights)
        return mean(values[is_ours], even[is_ours]) - mean(values[~is_ours], even[~is_ours])

    return interval(statistic, [s.film for s in rows])


def mean_tpl(those: Sequence[Scored]) -> Figure:
    values = np.array([s.tpl["all"] for s in those])
    return interval(lambda weights: mean(values, weights), [s.film for s in those])


def results(found: Sequence[Scored]) -> dict[str, dict[str, Any]]:
    families: defaultdict[str, list[Scored]] = defaultdict(list)
    for one in found:
        families[one.family].append(one)
    ours = {f: those for f, those in families.items() if f != STATIC}
    ours["all composed"] = [s for f, those in families.items() if f not in (STATIC, OURS) for s in those]
    return {
        family: {
            "n": len(those),
            "tokens": float(np.median([s.n_tokens for s in those])),
            "tpl": mean_tpl(those),
            **{kind: difference(those, families[STATIC], kind) for kind in KINDS},
            "over ours": difference(those, families[OURS], "all") if family != OURS else None,
        }
        for family, those in sorted(ours.items())
    }


def markdown(facts: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> str:
    heads = ["target", "n", "tokens, median", "TPL, nats a token", "over static captions, length-matched",
             "its digits over their text", "its words", "over our own captions"]  # fmt: skip
    lines = [
        "# Targets against captions of the same clips", "",
        f"`python -m benchmarks.headline`, scorer {facts['scorer']}, {facts['films']} held-out generated films, "
        f"{facts['cpu_s']:.0f} CPU s on {facts['machine']}. Nats a token with 95 % intervals over films. Static "
        f"captions say who is there. Their TPL: {facts['static']}. A dash: no length is shared.", "",
        "| " + " | ".join(heads) + " |", "|" + "-|" * len(heads),
    ]  # fmt: skip
    for family, row in found.items():
        cells = [family, str(row["n"]), f"{row['tokens']:.0f}", str(row["tpl"]), *(str(row[k]) for k in KINDS)]
        lines.append("| " + " | ".join([*cells, str(row["over ours"] or "")]) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--films", type=int, default=200)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    began, scorer = time.process_time(), load_scorer("embedded")
    n_frames = scorer.n_frames or 8
    found = list(scored(scorer, asked.films, n_frames))
    static = [s for s in found if s.family == STATIC]
    facts = {
        "scorer": scorer.card(held_out(SEED, 0, n_frames).frames_THWC).scorer, "films": asked.films,
        "cpu_s": time.process_time() - began, "machine": machine(),
        "static": str(mean_tpl(static)),
    }  # fmt: skip
    rows = results(found)
    plain = {f: {k: [v.value, v.low, v.high, v.n] if isinstance(v, Figure) else v for k, v in row.items()}
             for f, row in rows.items()}  # fmt: skip
    (asked.out / "headline.json").write_text(json.dumps({**facts, "targets": plain}, indent=1) + "\n")
    (asked.out / "headline.md").write_text(markdown(facts, rows))


if __name__ == "__main__":
    main()
