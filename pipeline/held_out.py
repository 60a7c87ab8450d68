"""Generated films that no scorer was trained on, and their truth: which frames a text needs, what order changes.

The composer's texts are functions of a scene; a scene follows from the world and the frames that are shown. So truth
under another order is what the composer says of the frames in that order. Of a film that holds a few frames it says too
much (a mover that is held jumps, and is said to go and stop): what such a film tells is where its subjects are.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from math import ceil

import numpy as np

from pipeline.shapes.lessons import FILM_SIDE_PX, FPS, IDENTITY, TICKS_A_SECOND, WHICH, shown, which, world_scene
from schemas.clip import Trajectory
from schemas.time import spread
from stages.algorithms.asking import CAPTION_QUESTION, TIMELINE_QUESTION, TRACK_FORMAT
from stages.algorithms.describe import Frame, trajectory
from stages.algorithms.events import events
from stages.algorithms.scene import Scene, global_caption, name, timeline, track_text
from stages.algorithms.tpl import held
from stages.algorithms.world import World, random_world
from stages.media.film import round_trip
from stages.models.protocols import Target

SHORTEST_S = 1.6  # of random_world
MOST_FRAMES = 12  # of a plan whose sets of frames are all tried: 4096 of them
Frames = frozenset[int]  # planned frames, 0-based


@dataclass(frozen=True, slots=True)
class Film:
    """One shot, its planned frames as they look after H.264, and the scene that a perfect tracker would report."""

    film_id: str
    world: World
    scene: Scene
    frames_THWC: np.ndarray  # uint8 RGB

    @property
    def n_frames(self) -> int:
        return self.scene.n_frames

    @property
    def times(self) -> list[str]:
        return [self.scene.time(k) for k in range(1, self.n_frames + 1)]

    @property
    def all_visible(self) -> bool:
        """Whether every planned frame shows every subject."""
        return all(len(self.scene.seen(t)) == self.n_frames for t in self.scene.tracks)

    @property
    def moves(self) -> bool:
        return any(set(self.scene.phases(t)) != {"still"} for t in self.scene.tracks)

    def names(self) -> set[str]:
        return {name(t) for t in self.scene.tracks}

    def in_order(self, order: Sequence[int]) -> Scene:
        """What a perfect tracker would report of the planned frames in that order, at the plan's times."""
        plan = self.scene.frame_tick
        tracks = self.world.tracks([plan[k] / TICKS_A_SECOND for k in order], FILM_SIDE_PX)
        frame = Frame(FILM_SIDE_PX, FILM_SIDE_PX, 1 / TICKS_A_SECOND)
        paths = tuple(trajectory(t, plan, [IDENTITY] * len(plan), frame) for t in tracks)
        return Scene.of(plan, 0, (1, TICKS_A_SECOND), paths, tuple(e for p in paths for e in events(p, plan)))


@dataclass(frozen=True, slots=True)
class Text:
    """A text about a film, and two truths: what frames give as single pictures, and what they give as a film.

    `needs`: one picture of each group must be seen, else the text cannot be known; of who stays still, two pictures.
    `tells`: what a film of these planned frames, in order, tells of it, where that is known; what is held stays still.
    """

    kind: str  # "static" | "shown" | "motion" | "ends" | "order" | "dense" | "track" | "appears"
    question: str
    say: Callable[[Scene], str]
    needs: tuple[Frames, ...]
    tells: Callable[[Sequence[int]], Hashable] | None = None

    def target(self, film: Film) -> Target:
        return Target(f"{film.film_id}/{self.kind}", self.question, self.say(film.scene))

    @property
    def needs_time(self) -> bool:
        """Whether no single frame, seen as a picture, is in all groups."""
        return not frozenset.intersection(*self.needs)

    def enough(self, film: Film, frames: Sequence[int]) -> bool:
        """Whether the film that holds these frames tells what all frames tell. ValueError where that is not known."""
        if self.tells is None:
            raise ValueError(f"{film.film_id}/{self.kind}: what a film that holds few frames tells of it is not known")
        return self.tells(held(film.n_frames, frames)) == self.tells(range(film.n_frames))

    def fewest(self, film: Film) -> tuple[Frames, ...]:
        """The smallest sets of frames that are enough. ValueError for plans whose sets are too many to try."""
        if film.n_frames > MOST_FRAMES:
            raise ValueError(f"{film.n_frames} frames have too many sets to try: ask for {MOST_FRAMES} at most")
        by_size = (combinations(range(film.n_frames), size) for size in range(1, film.n_frames + 1))
        enough = (tuple(frozenset(s) for s in sets if self.enough(film, s)) for sets in by_size)
        return next(sets for sets in enough if sets)

    def changes(self, film: Film, order: Sequence[int]) -> bool:
        """Whether it would not be said of the frames in that order. Both are asked of the plan's frames alone."""
        return self.say(film.in_order(order)) != self.say(film.in_order(range(film.n_frames)))


def held_out(seed: int, number: int, n_frames: int) -> Film:
    """Film `number` of a set; its frames are `n_frames`, at the least rate that gives the shortest film so many."""
    rng = np.random.default_rng([seed, number])
    fps = FPS * ceil(n_frames / (SHORTEST_S * FPS))
    while True:
        world = random_world(rng)
        ticks = tuple(range(0, int(world.duration_s * TICKS_A_SECOND), TICKS_A_SECOND // fps))
        scene = world_scene(world, ticks, n_frames)
        truth = {shape.name for shape in world.shapes}
        if scene.tracks and all(name(t) in truth and scene.seen(t) for t in scene.tracks):
            break
    drawn = (world.render(t / TICKS_A_SECOND, FILM_SIDE_PX) for t in ticks)
    whole = round_trip(drawn, fps=Fraction(fps), crf=int(rng.integers(18, 30)))
    frames = np.stack([whole[i] for i in spread(len(ticks), n_frames)])
    return Film(f"film{seed}-{number:04d}", world, scene, frames)


def frozen(film: Film, frame: int) -> np.ndarray:
    """The film that stands still at that planned frame."""
    return np.repeat(film.frames_THWC[frame][None], film.n_frames, axis=0)


def texts(film: Film, rng: np.random.Generator) -> list[Text]:
    """One of each kind that this film has; a frame is drawn where one is asked about."""
    scene = film.scene
    at = int(rng.integers(film.n_frames)) + 1
    track = scene.tracks[int(rng.integers(len(scene.tracks)))]
    kind = _motion_kind(scene)
    # Of a longer motion than from one place to another it is not known how few frames, held, still show it.
    told = _tells_ends(scene) if kind == "ends" or not film.moves else None
    return [
        Text("static", WHICH, lambda s: which(s).answer, tuple(_seen(scene, t) for t in scene.tracks)),
        Text("shown", shown(scene, at).question, lambda s: shown(s, at).answer, (frozenset({at - 1}),)),
        Text(kind, CAPTION_QUESTION, global_caption, tuple(_caption_needs(scene)), told),
        Text("dense", TIMELINE_QUESTION, timeline, tuple(_timeline_needs(scene)), _tells_places(scene)),
        Text(
            "track",
            f"What is the track of the {name(track)}? {TRACK_FORMAT}",
            lambda s: _track_answer(s, track),
            tuple(frozenset({k}) for k in sorted(_seen(scene, track))),
        ),
    ]


def _motion_kind(scene: Scene) -> str:
    """What a caption mainly tells: events before the order of motions, these before ends, these before a motion."""
    if scene.has_ends:
        return "appears"
    steps = [scene.phases(t) for t in scene.tracks]
    if any(len(s) > 1 for s in steps):
        return "order"
    moved = all(t.moments[0].location != t.moments[-1].location for t in scene.tracks)
    return "ends" if moved and all(steps) else "motion"


def _caption_needs(scene: Scene) -> Iterator[Frames]:
    """Of each subject: the frames in which it is not there yet, or no more; those at its first and last place.

    Who stays in one place must be seen in both halves of its time: a single frame cannot tell that.
    """
    for track in scene.tracks:
        seen = scene.seen(track)
        before = {k - 1 for k in range(1, min(seen))}
        after = {k - 1 for k in range(max(seen) + 1, scene.n_frames + 1)}
        yield from (frozenset(g) for g in (before, after) if g)
        first, last = track.moments[0].location, track.moments[-1].location
        if first != last:
            yield _run(_places(scene, track), first)
            yield _run(_places(scene, track)[::-1], last)
        elif len(seen) > 1:
            half = sorted(seen)[len(seen) // 2]
            yield frozenset(k - 1 for k in seen if k < half)
            yield frozenset(k - 1 for k in seen if k >= half)


def _places(scene: Scene, track: Trajectory) -> list[tuple[int, str]]:
    """Planned frame, 0-based, and place, wherever the subject is seen, in order."""
    return [(k - 1, m.location) for k, m in scene.seen(track).items()]


def _run(places: Sequence[tuple[int, str]], wanted: str) -> Frames:
    """The frames up to the first one at another place; where the plan begins later than the track, its first frame."""
    found: list[int] = []
    for k, place in places:
        if place != wanted:
            break
        found.append(k)
    return frozenset(found or [places[0][0]])


def _timeline_needs(scene: Scene) -> Iterator[Frames]:
    """Both frames at each change; without one, a frame of each half of the film."""
    states = _states(scene)
    borders = [k for k in range(1, scene.n_frames) if states[k] != states[k - 1]]
    half = scene.n_frames // 2
    if not borders:
        yield frozenset(range(half))
        yield frozenset(range(half, scene.n_frames))
    for k in borders:
        yield frozenset({k - 1})
        yield frozenset({k})


def _states(scene: Scene) -> list[tuple[str | None, ...]]:
    """By planned frame where each subject is, None where it is not there."""
    return [tuple(m and m.location for m in (scene.at(t, k + 1) for t in scene.tracks)) for k in range(scene.n_frames)]


def _tells_places(scene: Scene) -> Callable[[Sequence[int]], Hashable]:
    """Frame by frame who is where: what a timeline tells."""
    states = _states(scene)
    return lambda order: tuple(states[k] for k in order)


def _tells_ends(scene: Scene) -> Callable[[Sequence[int]], Hashable]:
    """Of each subject, what a caption tells: is it there in the beginning, its first and last place, is it at the end?

    The first and last place are the caption's: where the plan begins later than the track, only its first frame is
    near enough to it.
    """
    paths = [list(path) for path in zip(*_states(scene), strict=True)]
    for path, track in zip(paths, scene.tracks, strict=True):
        seen = _seen(scene, track)
        path[min(seen)], path[max(seen)] = track.moments[0].location, track.moments[-1].location
    return lambda order: tuple(_ends([path[k] for k in order]) for path in paths)


def _ends(path: Sequence[str | None]) -> tuple[bool, str | None, str | None, bool]:
    places = [place for place in path if place] or [None]
    return path[0] is not None, places[0], places[-1], path[-1] is not None


def _seen(scene: Scene, track: Trajectory) -> Frames:
    return frozenset(k - 1 for k in scene.seen(track))


def _track_answer(scene: Scene, track: Trajectory) -> str:
    """The track of the subject of that name, under the number that it has in the whole film."""
    (found,) = [t for t in scene.tracks if name(t) == name(track)]
    return f"{track_text(scene, replace(found, track_id=track.track_id))}."
