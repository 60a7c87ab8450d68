"""Does the label risk tell which answers are wrong? Composed samples against the truth, through the real chain of eyes.

    python -m benchmarks.label_risk [--films N] [--videos VIDEOS --truth TRUTH --model DETECTOR.onnx --anchors A.npy]

writes benchmarks/results/label_risk.{md,json,png}. Generated films are encoded, probed, split, decoded, detected,
tracked and described with the defaults of a build; all samples are composed, none dropped, and each is judged by the
world (label_judge.py). With VIDEOS also the films of people that TRUTH holds MOTChallenge files of: extras `onnx` and
`bench`. Nothing is tuned on those.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2

from benchmarks.label_curves import summary
from benchmarks.label_films import TrueClip, world_clips
from benchmarks.label_plot import plot
from benchmarks.label_report import report
from benchmarks.label_rows import STRICT, Row, judged
from benchmarks.label_truth import Tolerance
from benchmarks.machine import machine
from stages.compose_samples import ComposeSamples

RESULTS = Path(__file__).parent / "results"
SEED = 80_001
EXAMPLES = 4  # of a family that are written down
OF_THE_WORLD: dict[str, Tolerance] = {
    "as defined": STRICT,
    "boxes from IoU .5": replace(STRICT, min_iou=0.5),
    "boxes from IoU .85": replace(STRICT, min_iou=0.85),
    "a track has 95 % of its boxes on its subject": replace(STRICT, owner_share=0.95),
    "places within .01 sides of their border": replace(STRICT, place=0.01),
    "motions to the very frame of a turn": replace(STRICT, turn_s=0.0),
    "motions within .25 s of a turn": replace(STRICT, turn_s=0.25),
    "coming and going to the very frame": replace(STRICT, event_s=0.0),
    "coming and going within .4 s": replace(STRICT, event_s=0.4),
    "a quarter of a subject is seen": replace(STRICT, unseen=0.25, seen=0.25),
    "half of a subject is seen, less is not": replace(STRICT, unseen=0.4999),
    "motions of .3 s must be told": replace(STRICT, leg_s=0.3),
    "motions under .8 s need not be told": replace(STRICT, leg_s=0.8),
    '"object" is a wrong name': replace(STRICT, vague_is_right=False),
    "what comes or goes and never moves need not be told": replace(STRICT, standing_told=False),
    "what stands makes no question ambiguous": replace(STRICT, standing_rivals=False),
}
LOOSE = replace(STRICT, min_iou=0.5)  # of hand-drawn boxes, as in MOTChallenge
OF_PEOPLE: dict[str, Tolerance] = {
    "as defined, boxes from IoU .5": LOOSE,
    "boxes from IoU .75": STRICT,
    "a track has 50 % of its boxes on its subject": replace(LOOSE, owner_share=0.5),
    "places within .02 sides of their border": replace(LOOSE, place=0.02),
    "frames at which a person is lost are no error": replace(LOOSE, needs_all=False),
    "undetected people make no question ambiguous": replace(LOOSE, standing_rivals=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--films", type=int, default=100)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--videos", type=Path, help="folder of films of people")
    parser.add_argument("--truth", type=Path, help="folder of their MOTChallenge files")
    parser.add_argument("--model", default="")
    parser.add_argument("--anchors", default="")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    if (args.videos is None) != (args.truth is None) or (args.videos is None) != (not args.model):
        raise SystemExit("--videos, --truth and --model belong together")
    cv2.setNumThreads(1)
    began = time.process_time()
    sources: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        clips = list(world_clips(Path(folder), films=args.films, seed=args.seed))
        sources["generated world"] = of_the_world(clips)
        if args.videos is not None:
            from benchmarks.label_people import people_clips  # needs the extra bench

            people = list(people_clips(args.videos, args.truth, f"{folder}/store", args.model, args.anchors))
            sources["people"] = of_people(people)
    result = {
        "command": f"python -m benchmarks.label_risk --films {args.films} --seed {args.seed}",
        "films": args.films,
        "machine": machine(),
        "cpu_s": time.process_time() - began,
        "tolerance": asdict(STRICT),
        "sources": sources,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "label_risk.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.out / "label_risk.md").write_text(report(result))
    plot(args.out / "label_risk.png", sources, result["machine"])


def of_the_world(clips: Sequence[TrueClip]) -> dict[str, Any]:
    rows = judged(clips)
    return measured(rows, {name: judged(clips, tolerance) for name, tolerance in OF_THE_WORLD.items()})


def of_people(clips: Sequence[TrueClip]) -> dict[str, Any]:
    """All films together, and film by film."""
    rows = judged(clips, LOOSE)
    found = measured(rows, {name: judged(clips, tolerance) for name, tolerance in OF_PEOPLE.items()})
    films = sorted({clip.film for clip in clips})
    own = {film: judged([c for c in clips if c.film == film], LOOSE) for film in films}
    return found | {"films": {film: summary(rows, ComposeSamples().max_risk) for film, rows in own.items()}}


def measured(rows: Sequence[Row], others: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """The summary, how much it owes to each tolerance, and samples that are kept and wrong."""
    threshold = ComposeSamples().max_risk
    found = summary(rows, threshold)
    for reason, count in found["not_judged"].items():
        sys.stderr.write(f"NOT JUDGED: {count} samples: {reason}\n")
    found["sensitivity"] = {name: summary(own, threshold)["kept"] for name, own in others.items()}
    wrong = [row for row in rows if row.is_judged and not row.is_right and row.risk <= threshold]
    families = sorted({row.family for row in wrong})
    found["examples"] = [
        {"sample": r.sample, "family": r.family, "risk": r.risk, "question": r.question, "answer": r.answer,
         "wrong": list(r.verdict.wrong)}
        for family in families for r in [row for row in wrong if row.family == family][:EXAMPLES]
    ]  # fmt: skip
    return found


if __name__ == "__main__":
    main()
