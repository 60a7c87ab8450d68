"""Of semantic mutations of a sealed set, which does `utr verify` catch, and which can it not know?

    python -m benchmarks.mutations           writes benchmarks/results/mutations.{md,json}

The kinds, and what counts as semantic, are in tests/publish/mutations.py; the set is of generated worlds with all
families of questions and twins. All hashes and counts of shards are right after each mutation.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from tests.publish.mutations import KINDS, UNKNOWABLE, survivors
from tests.publish.world_set import seal_worlds

RESULTS = Path(__file__).parent / "results"


def measured(draws_each: int, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        data = seal_worlds(Path(folder) / "out")
        began = time.process_time()
        left = survivors(data, draws_each=draws_each, seed=seed)
    return {
        "draws_each": draws_each,
        "seed": seed,
        "rows": {"clips": len(data.clips), "data": len(data.samples), "scores": len(data.scores)},
        "survived": dict(Counter(drawn.kind for drawn in left)),
        "cpu_s": time.process_time() - began,
        "machine": machine(),
    }


def report(result: Mapping[str, Any]) -> str:
    """The figures for people."""
    each, survived, rows = result["draws_each"], result["survived"], result["rows"]
    drawn, left = each * len(KINDS), sum(survived.values())
    named = [kind for kind in KINDS if kind in survived]
    whole = [kind for kind in KINDS if kind not in survived]
    lines = [
        "# Mutations of a sealed set",
        "",
        f"`python -m benchmarks.mutations --draws {each} --seed {result['seed']}`, {result['cpu_s']:.0f} CPU s on "
        f"{result['machine']}. {drawn:,} mutants, {each} of each of {len(KINDS)} kinds, of a set of {rows['clips']} "
        f"clips, {rows['data']} samples and {rows['scores']} rows of scores: generated worlds, all families and twins. "
        "Hashes and counts of shards are made right again; the rest of the manifest stays.",
        "",
        f"**Caught: {drawn - left:,} of {drawn:,}, {100 * (1 - left / drawn):.2f} %.** {len(whole)} kinds are caught "
        f"always. A change counts from 1 % of the frame's side, 0.02 s, a risk of 0.05 or a tenth of a nat on; any "
        "word, number, order or row. What gives the same rows, or the same JSON in another spelling, is drawn anew.",
        "",
        "| kinds of which some survive | caught | why verify cannot know |",
        "|---|---:|---|",
        *(
            f"| {kind} | {each - survived[kind]} of {each} | {UNKNOWABLE.get(kind, 'not explained')} |"
            for kind in named
        ),
        "",
        f"Always caught, {each} of {each}:",
        "",
        *(f"- {area}: {', '.join(kinds)}" for area, kinds in _by_area(whole).items()),
        "",
    ]
    return "\n".join(lines)


def _by_area(kinds: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind in kinds:
        area, _, what = kind.partition(": ")
        found.setdefault(area, []).append(what)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    result = measured(args.draws, args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "mutations.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.out / "mutations.md").write_text(report(result))


if __name__ == "__main__":
    main()
