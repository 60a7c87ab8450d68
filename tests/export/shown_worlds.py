"""Generated worlds whose tracks lie on a 10 Hz grid, looked at by loaders at 30 frames a second."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from pipeline.shapes.lessons import TICKS_A_SECOND, world_scene
from schemas.clip import Event, Trajectory
from schemas.sample import Sample
from stages.algorithms.asking import Rendered, to_json
from stages.algorithms.compose import PAPER, compose, messages
from stages.algorithms.reshow import Shown
from stages.algorithms.scene import name
from stages.algorithms.world import World, random_world
from tests.worlds import lies

FPS = 30


@dataclass(frozen=True)
class Case:
    world: World
    plan: tuple[int, ...]
    grid_tick: tuple[int, ...]
    film_tick: tuple[int, ...]
    tracks: tuple[Trajectory, ...]
    events: tuple[Event, ...]
    samples: list[Sample]

    def shown(self, index: tuple[int, ...]) -> Shown:
        ticks = tuple(self.film_tick[i] for i in index)
        return Shown(frame_tick=ticks, grid_tick=self.grid_tick, start_tick=0, time_base=(1, TICKS_A_SECOND))


def cases(count: int, *, seed: int = 0, families: Collection[str] = PAPER, shapes: int = 2) -> Iterator[Case]:
    """Worlds whose subjects can all be named, with what the composer asks about them at eight frames.

    Only such of which it says nothing false: what is false of other frames then came with them.
    """
    rng = np.random.default_rng(seed)
    made = 0
    while made < count:
        world = random_world(rng, max_shapes=shapes)
        film = tuple(k * TICKS_A_SECOND // FPS for k in range(int(world.duration_s * FPS)))
        grid = film[::3]
        scene = world_scene(world, grid, 8)
        whole = world_scene(world, grid, len(grid))  # all its tracks, also those that no planned frame shows
        if scene.tracks and all(name(t) in {s.name for s in world.shapes} for t in whole.tracks):
            samples = compose(scene, clip_id=f"world-{seed}-{made}", seed=0, caption_share=0.3, families=families)
            if any(lies(world, scene, sample) for sample in samples):
                continue
            yield Case(world, scene.frame_tick, grid, film, whole.tracks, scene.events, samples)
            made += 1


def as_sample(old: Sample, program: dict, said: Rendered) -> Sample:
    """What tests/worlds.py judges."""
    return replace(old, program=to_json(program), messages=messages(said), reward=to_json(said.reward), risk=said.risk)
