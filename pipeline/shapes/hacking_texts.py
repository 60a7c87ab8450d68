"""Texts of the hacking experiment: what one frame answers, what the composer asks of time, and a pool of both.

A text that one frame answers is what a caption written from a thumbnail is: true of the film, and no reason to look at
the rest of it. The picture is the first frame that shows most subjects, and the question does not say which one it is.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.shapes.lessons import Conversation, Lesson, shown, which
from stages.algorithms.scene import Scene, coordinates, in_place, name
from stages.algorithms.world import RGB

PICTURE = "What does the picture show?"
UTR = ("trajectory", "record", "where", "when", "timeline")  # families of the composer: tracks, and time both ways
REPLAY = ("caption", "timeline", "where", "when", "static")  # kinds in whose formats the measures ask
WORDS = ("direction", "when", "timeline", "caption")  # in the pool: this scorer reads no boxes (docs/tpl.md)
NUMBERS = {1: "One", 2: "Two"}


def one_frame(scene: Scene, rng: np.random.Generator) -> list[Conversation]:
    """Who is there, whether somebody is, how many there are, and what the picture shows, in words and in boxes."""
    frame = _picture(scene)
    track = scene.tracks[int(rng.integers(len(scene.tracks)))]
    size, colour = track.appearance.split(" ")
    colours = [c for c in RGB if c != colour and f"{size} {c} {track.name}" not in scene.names]
    absent = f"{size} {rng.choice(colours)} {track.name}"
    return [
        which(scene),
        Conversation("presence", f"Is there a {name(track)}?", "Yes."),
        Conversation("presence", f"Is there a {absent}?", "No."),
        Conversation("count", "How many subjects are there?", f"{NUMBERS[len(scene.tracks)]}."),
        Conversation("picture", PICTURE, shown(scene, frame, boxes=False).answer),
        Conversation("boxes", f"{PICTURE} Write boxes as [x1,y1,x2,y2].", _boxes(scene, frame)),
    ]


def utr(lesson: Lesson) -> list[Conversation]:
    """The composer's tracks, records, places at a time, times of a place, and the timeline."""
    return [c for c in lesson.conversations if c.kind in UTR]


def pool(lesson: Lesson, still: Sequence[Conversation]) -> list[Conversation]:
    """Texts that one frame answers (`still`) beside temporal ones of words, as they come in a mixed set."""
    return [*still, *(c for c in lesson.conversations if c.kind in WORDS)]


def replay(lesson: Lesson) -> list[Conversation]:
    """The base's own conversations in the formats that are measured: what is forgotten is then no format."""
    return [c for c in lesson.conversations if c.kind in REPLAY]


def _picture(scene: Scene) -> int:
    """The first frame that shows most subjects, 1-based."""
    shows = [sum(scene.at(t, k) is not None for t in scene.tracks) for k in range(1, scene.n_frames + 1)]
    return shows.index(max(shows)) + 1


def _boxes(scene: Scene, frame: int) -> str:
    seen = [(t, m) for t in scene.tracks if (m := scene.at(t, frame))]
    seen.sort(key=lambda pair: pair[1].box_xyxy_px)
    return "; ".join(f"a {name(t)} {in_place(m.location)}, {coordinates(t, m)}" for t, m in seen) + "."
