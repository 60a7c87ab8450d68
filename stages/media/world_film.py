"""Films of the generated world as real mp4 files: several shots, a white leader between them, exact truth beside."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from stages.algorithms.world import World, random_world
from stages.media.film import write_film

LEADER_S = 0.8  # white, so that a cut can be seen between shots with one background; shorter than any clip


@dataclass(frozen=True, slots=True)
class WorldShot:
    """A shot of a film: its world's time 0 is frame `first`; frames are first <= k < end."""

    world: World
    first: int
    end: int


def random_film(seed: int, *, shots: int, max_shapes: int = 2) -> tuple[World, ...]:
    """The shots of a film, drawn by its seed."""
    rng = np.random.default_rng([seed, 11])
    return tuple(random_world(rng, max_shapes=max_shapes) for _ in range(shots))


def write_world_film(
    path: Path, worlds: Sequence[World], *, fps: Fraction, side_px: int = 256, crf: int = 20
) -> tuple[WorldShot, ...]:
    """Writes the film and returns where each shot lies in it."""
    leader = round(LEADER_S * fps)
    shots: list[WorldShot] = []
    at = 0
    for world in worlds:
        at += leader if shots else 0
        length = int(world.duration_s * fps)
        shots.append(WorldShot(world, at, at + length))
        at += length
    write_film(path, _frames(shots, leader, fps, side_px), fps=fps, crf=crf)
    return tuple(shots)


def _frames(shots: Sequence[WorldShot], leader: int, fps: Fraction, side_px: int) -> Iterator[np.ndarray]:
    white = np.full((side_px, side_px, 3), 245, np.uint8)
    for i, shot in enumerate(shots):
        if i:
            yield from (white for _ in range(leader))
        yield from (shot.world.render(float(k / fps), side_px) for k in range(shot.end - shot.first))
