"""What the embedded scorer is taught: films of the generated world and the composer's own conversations about them.

Truth goes through the same describe and compose code as real tracks do, so the scorer knows exactly the formats that it
will score. Two kinds of text are added that the composer does not write: which subjects there are (a static text: the
control that TPL must call hackable) and where all of them are at one frame (the image stage).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from schemas.clip import Trajectory
from schemas.time import spread
from stages.algorithms.compose import compose
from stages.algorithms.describe import Frame, trajectory
from stages.algorithms.events import events, happenings
from stages.algorithms.scene import Scene, coordinates, in_place, name
from stages.algorithms.world import World, random_world
from stages.media.film import round_trip

TICKS_A_SECOND = 90_000
FPS = 10  # the tracking grid of the engine's default recipe
FILM_SIDE_PX = 128
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
WHICH = "Which subjects are there?"


@dataclass(frozen=True, slots=True)
class Conversation:
    kind: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Lesson:
    world: World
    scene: Scene
    frames_THWC: np.ndarray  # the planned frames, uint8 RGB, at the scorer's size
    conversations: tuple[Conversation, ...]

    @property
    def times(self) -> list[str]:
        return [self.scene.time(k) for k in range(1, self.scene.n_frames + 1)]


def picture(rng: np.random.Generator, *, side_px: int) -> Lesson:
    """A single frame of one to three shapes and what is shown."""
    world = random_world(rng, max_shapes=3, still_share=1.0)
    scene = world_scene(world, (0, TICKS_A_SECOND // FPS), 1)
    if len(scene.tracks) < len(world.shapes):  # one that appears later, or hardly shows
        return picture(rng, side_px=side_px)
    return Lesson(world, scene, _small([world.render(0.0, FILM_SIDE_PX)], side_px), (shown(scene, 1, boxes=False),))


def lesson(rng: np.random.Generator, *, side_px: int, n_frames: int, film: bool = True) -> Lesson:
    """One random shot with its conversations; `film` sends the frames through H.264."""
    while True:
        world = random_world(rng)
        ticks = tuple(range(0, int(world.duration_s * TICKS_A_SECOND), TICKS_A_SECOND // FPS))
        scene = world_scene(world, ticks, n_frames)
        # A shape that is cut by the edge all the time has no name; a world whose plan shows nothing has no questions.
        truth = {shape.name for shape in world.shapes}
        if scene.tracks and all(name(t) in truth and scene.seen(t) for t in scene.tracks):
            break
    times = [t / TICKS_A_SECOND for t in (ticks if film else scene.frame_tick)]
    frames = [world.render(t, FILM_SIDE_PX) for t in times]
    if film:
        whole = round_trip(frames, fps=Fraction(FPS), crf=int(rng.integers(18, 30)))
        frames = [whole[ticks.index(t)] for t in scene.frame_tick]
    return Lesson(world, scene, _small(frames, side_px), tuple(_conversations(scene, rng)))


def _small(frames: Sequence[np.ndarray], side_px: int) -> np.ndarray:
    return np.stack([cv2.resize(f, (side_px, side_px), interpolation=cv2.INTER_AREA) for f in frames])


def world_scene(world: World, ticks: tuple[int, ...], n_frames: int) -> Scene:
    """The scene that a perfect detector and tracker would hand to the composer."""
    frame = Frame(FILM_SIDE_PX, FILM_SIDE_PX, 1 / TICKS_A_SECOND)
    tracks = world.tracks([t / TICKS_A_SECOND for t in ticks], FILM_SIDE_PX)
    paths = tuple(trajectory(t, ticks, [IDENTITY] * len(ticks), frame) for t in tracks)
    plan = tuple(ticks[i] for i in spread(len(ticks), n_frames))
    ends = tuple(e for p in paths for e in events(p, ticks))
    return Scene.of(plan, 0, (1, TICKS_A_SECOND), paths, (*ends, *happenings(paths, frame.tick_s)))


def which(scene: Scene) -> Conversation:
    """The static text: who is there, in order of first appearance."""
    return Conversation("static", WHICH, ", ".join(f"a {name(t)}" for t in scene.tracks) + ".")


def shown(scene: Scene, frame: int, *, boxes: bool = True) -> Conversation:
    """Where everybody is at one frame, from left to right; without boxes where places are to be learned first.

    The order must be visible: in the order of first appearance, which no single frame shows, places are not learned
    (.4 right after 450 steps; from left to right .93).
    """
    seen = [(track, moment) for track in scene.tracks if (moment := scene.at(track, frame))]
    here: list[str] = []
    for track, moment in sorted(seen, key=lambda pair: pair[1].box_xyxy_px):
        box = f", frame{frame}:{coordinates(track, moment)}" if boxes else ""
        here.append(f"a {name(track)} {in_place(moment.location)}{box}")
    return Conversation("shown", f"What is shown at frame{frame}?", f"{'; '.join(here) or 'nothing'}.")


def place_at(scene: Scene, track: Trajectory, frame: int) -> Conversation:
    """The composer's question for a place without its box, a third of the tokens."""
    place = in_place(scene.seen(track)[frame].location).capitalize()
    return Conversation("place", f"Where is the {name(track)} at frame{frame}, {scene.time(frame)}?", f"{place}.")


def _conversations(scene: Scene, rng: np.random.Generator) -> list[Conversation]:
    key = f"lesson-{rng.integers(2**62)}"
    said = [
        Conversation(s.family, s.messages[0].content.removeprefix("<video>\n"), s.messages[1].content)
        for s in compose(scene, clip_id=key, seed=0, caption_share=0.3)
    ]
    frame = int(rng.integers(scene.n_frames)) + 1
    return [*said, which(scene), shown(scene, frame)]
