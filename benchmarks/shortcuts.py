"""How far does one get without the film, before and after balancing, and how many samples does that cost?

    python -m benchmarks.shortcuts           writes benchmarks/results/shortcuts.{md,json}

The composer's samples about generated worlds, under the label risk of a build; nothing is rendered or decoded. Each
question is balanced alone, then all at once. The n-gram model is also tested on folds that the plan has not seen.
"""

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from pipeline.shapes.lessons import TICKS_A_SECOND, world_scene
from stages.algorithms.balance import Group, balance
from stages.algorithms.closed import ASKS, Closed, closed
from stages.algorithms.compose import compose
from stages.algorithms.shortcuts import WITHIN, Baseline, Measured, baseline, by_ask, measure, ngram
from stages.algorithms.world import random_world
from stages.compose_samples import ComposeSamples

RESULTS = Path(__file__).parent / "results"
SEED = 70_001
N_FRAMES = 8
OTHER_FOLDS = 1


def groups(n_worlds: int) -> Iterator[Group]:
    """The matched pairs of generated clips, as a build composes them of perfect tracks."""
    rng, stage = np.random.default_rng(SEED), ComposeSamples()
    for k in range(n_worlds):
        world = random_world(rng, max_shapes=3)
        ticks = tuple(range(0, int(world.duration_s * TICKS_A_SECOND), TICKS_A_SECOND // 10))
        scene = world_scene(world, ticks, N_FRAMES)
        samples = [
            s
            for s in compose(
                scene,
                clip_id=f"world{k}",
                seed=stage.seed,
                caption_share=stage.caption_share,
                families=stage.families,
                max_twins=stage.max_twins,
            )
            if s.risk <= stage.max_risk
        ]
        questions: defaultdict[str, list[Closed]] = defaultdict(list)
        for question in closed(scene, f"world{k}", samples):
            questions[question.group_id].append(question)
        for group_id, size in Counter(s.group_id for s in samples).items():
            yield Group(group_id, size, tuple(questions[group_id]))


def balanced(found: Sequence[Group], asks: Sequence[str]) -> dict[str, Any]:
    """One plan: what it drops and what can still be guessed of what it balances."""
    began = time.process_time()
    plan = balance(found, asks)
    cpu_s = time.process_time() - began
    kept = [g for g in found if g.group_id not in plan.dropped]
    after = measure([q for g in kept for q in g.questions if q.ask in asks])
    return {
        "asks": list(asks),
        "samples": sum(g.samples for g in found),
        "dropped": sum(g.samples for g in found) - sum(g.samples for g in kept),
        "given_up": list(plan.given_up),
        "left": list(plan.left),
        "rounds": plan.rounds,
        "cpu_s": cpu_s,
        "after": [as_json(m, on_other_folds(kept, m.ask)) for m in after],
    }


def on_other_folds(found: Iterable[Group], ask: str) -> Baseline | None:
    questions = by_ask(q for g in found for q in g.questions).get(ask, [])
    right = ngram(questions, seed=OTHER_FOLDS)
    return None if right is None else baseline("n-gram, other folds", right, [q.video_id for q in questions])


def as_json(m: Measured, other: Baseline | None) -> dict[str, Any]:
    return {
        "ask": m.ask,
        "samples": m.samples,
        "videos": m.videos,
        "chance": m.chance,
        "answers": dict(m.shares),
        "blind": {b.name: [b.accuracy, b.low, b.high] for b in (*m.blind, *([other] if other else []))},
        "one_frame": {b.name: [b.accuracy, b.low, b.high] for b in m.one_frame},
        "is_even": m.is_even,
    }


def report(result: Mapping[str, Any]) -> str:
    """The figures for people."""
    together = result["together"]
    alone = {plan["asks"][0]: plan for plan in result["alone"]}
    lines = [
        "# Shortcuts",
        "",
        f"`python -m benchmarks.shortcuts --worlds {result['worlds']}`, {result['cpu_s']:.0f} CPU s on "
        f"{result['machine']}. {together['samples']:,} samples of {result['worlds']:,} generated clips with perfect "
        f"tracks. Percent right without the film, with 95 % intervals; even is at most {100 * WITHIN:g} points above "
        f"chance. Other folds: of videos by another hash than the one that the plan was made with.",
        "",
        "| question | state | samples | chance | majority | n-gram | other folds | even |",
        "|---|---|---:|---:|---|---|---|---|",
        *(
            row(m, state)
            for ask in ASKS
            for state, several in (
                ("before", result["before"]), ("balanced alone", alone[ask]["after"]),
                ("all balanced", together["after"]),
            )
            for m in several
            if m["ask"] == ask
        ),
        "",
        "| balanced | samples dropped | share | rounds | CPU s | negatives given up | still guessed |",
        "|---|---:|---:|---:|---:|---|---|",
        *(
            f"| {' '.join(p['asks']) if len(p['asks']) == 1 else 'all'} | {p['dropped']:,} "
            f"| {100 * p['dropped'] / p['samples']:.1f} % | {p['rounds']} | {p['cpu_s']:.0f} "
            f"| {'yes' if p['given_up'] else ''} | {', '.join(p['left'])} |"
            for p in (*result["alone"], together)
        ),
        "",
        "A question whose negatives are given up is none any more, and has no line after. Rules that see a single "
        "frame, which nothing is dropped for:",
        "",
        "| question | rule | chance | before | all balanced |",
        "|---|---|---:|---|---|",
        *(
            f"| {m['ask']} | {rule} | {100 * m['chance']:.1f} | {interval(value)} "
            f"| {', '.join(interval(n['one_frame'][rule]) for n in together['after'] if n['ask'] == m['ask'])} |"
            for m in result["before"]
            for rule, value in m["one_frame"].items()
        ),
        "",
        "| question | answers before, % | all balanced, % |",
        "|---|---|---|",
        *(
            f"| {m['ask']} | {answers(m)} "
            f"| {', '.join(answers(n) for n in together['after'] if n['ask'] == m['ask'])} |"
            for m in result["before"]
        ),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def row(m: Mapping[str, Any], state: str) -> str:
    figures = " | ".join(
        interval(m["blind"][name]) if name in m["blind"] else ""
        for name in ("majority", "n-gram", "n-gram, other folds")
    )
    even = "yes" if m["is_even"] else "no"
    return f"| {m['ask']} | {state} | {m['samples']:,} | {100 * m['chance']:.1f} | {figures} | {even} |"


def interval(value: Sequence[float]) -> str:
    share, low, high = (100 * v for v in value)
    return f"{share:.1f} ({low:.1f} to {high:.1f})"


def answers(m: Mapping[str, Any], most: int = 9) -> str:
    shown = [f"{answer} {100 * share:.1f}" for answer, share in m["answers"].items()]
    return ", ".join(shown[:most]) + (f", {len(shown) - most} more" if len(shown) > most else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--worlds", type=int, default=4_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    began = time.process_time()
    found = list(groups(args.worlds))
    before = measure([q for g in found for q in g.questions])
    asks = [m.ask for m in before]
    result: dict[str, Any] = {
        "worlds": args.worlds,
        "before": [as_json(m, on_other_folds(found, m.ask)) for m in before],
        "alone": [balanced(found, [ask]) for ask in asks],
        "together": balanced(found, asks),
        "machine": machine(),
    }
    result["cpu_s"] = time.process_time() - began
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "shortcuts.json").write_text(json.dumps(result, indent=1))
    (args.out / "shortcuts.md").write_text(report(result))


if __name__ == "__main__":
    main()
