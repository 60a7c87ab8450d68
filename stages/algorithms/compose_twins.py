"""Which questions are asked again of which twins: one of each kind first, drawn by the clip's key."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from schemas.sample import Sample
from stages.algorithms.ask_twin import ASKED
from stages.algorithms.asking import MAX_RISK, Program, Unanswerable
from stages.algorithms.questions import render
from stages.algorithms.scene import Scene
from stages.algorithms.twins import KINDS, Showing, showing

TRIES = 6  # of a kind


def twins(
    scene: Scene, samples: Sequence[Sample], rng: np.random.Generator, most: int, steady_camera: bool
) -> Iterator[tuple[dict[str, Any], str]]:
    """Programs and the groups of the questions that they are about. At half the speed only where the camera stands."""
    asked = [(json.loads(s.program), s.group_id) for s in samples if s.risk <= MAX_RISK]
    kinds = [str(kind) for kind in rng.permutation(KINDS) if kind != "slowed" or steady_camera]
    for k in range(most):
        kind = kinds[k % len(kinds)]
        fitting = [pair for pair in asked if pair[0]["op"] in ASKED[kind]]
        for i in rng.permutation(len(fitting))[:TRIES]:
            of, group_id = fitting[i]
            program = {"op": "twin", "kind": kind, "at": _at(kind, scene.n_frames, rng), "of": of}
            try:
                found = render(scene, program)
            except Unanswerable:
                continue
            if found.risk <= MAX_RISK:
                asked.remove((of, group_id))
                yield program, group_id
                break


def showing_of(scene: Scene, program: Program) -> Showing:
    return showing(program["kind"], scene.n_frames, program["at"])


def _at(kind: str, n_frames: int, rng: np.random.Generator) -> int:
    ranges = {"swapped": (2, n_frames - 1), "frozen": (1, n_frames + 1), "slowed": (1, 3)}
    low, high = ranges.get(kind, (0, 1))
    return int(rng.integers(low, high)) if low < high else low
