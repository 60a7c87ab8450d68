"""What is true of a generated world, said without the engine's describe and compose code."""

import json
import re
from collections.abc import Iterator

import numpy as np

from pipeline.shapes.lessons import TICKS_A_SECOND, world_scene
from schemas.sample import Sample
from stages.algorithms.compose import compose
from stages.algorithms.scene import Scene, name
from stages.algorithms.world import Shape, World, random_world

BOX = re.compile(r"frame(\d+):\[(\d+),(\d+),(\d+),(\d+)\]")


def worlds(count: int, *, seed: int = 0) -> Iterator[tuple[World, Scene, list[Sample]]]:
    """Random worlds whose subjects can all be named, with their scenes and samples."""
    rng = np.random.default_rng(seed)
    made = 0
    while made < count:
        world = random_world(rng)
        ticks = tuple(range(0, int(world.duration_s * TICKS_A_SECOND), TICKS_A_SECOND // 10))
        scene = world_scene(world, ticks, 8)
        if scene.tracks and all(name(t) in {s.name for s in world.shapes} and scene.seen(t) for t in scene.tracks):
            yield world, scene, compose(scene, clip_id=f"world-{seed}-{made}", seed=0, caption_share=0.3)
            made += 1


def lies(world: World, scene: Scene, sample: Sample) -> list[str]:
    """What of a sample's answer is not true of the world; labels at risk are not judged."""
    if sample.risk > 0.75:
        return []
    program = json.loads(sample.program)
    subject = _subject(world, scene, program)
    times = [t / TICKS_A_SECOND for t in scene.frame_tick]
    answer = sample.messages[1].content
    found = [
        f"box {match.group()}" for match in BOX.finditer(answer) if subject and not _box_true(match, subject, times)
    ]
    if sample.family == "record" and subject:
        motion = _motion(subject, times[program["frame"] - 1])
        said = answer.split(", ")[1]
        if motion and not said.startswith(f"{motion} "):
            found.append(f"said {said!r}, moves {motion!r}")
        if _place(subject, times[program["frame"] - 1]) not in said:
            found.append(f"said {said!r}, is {_place(subject, times[program['frame'] - 1])!r}")
    if sample.family == "direction" and subject:
        middle = (times[program["first"] - 1] + times[program["last"] - 1]) / 2
        if _motion(subject, middle) not in (None, f"moving {answer[4:-1]}"):
            found.append(f"said {answer!r}, moves {_motion(subject, middle)!r}")
    if sample.family == "where" and subject:
        there = _place(subject, times[program["frame"] - 1])
        found += [] if answer.lower().startswith(f"{there},") else [f"said {answer!r}, is {there!r}"]
    if sample.family == "when" and subject:
        first, last = json.loads(sample.reward)["value"]
        asked = sample.messages[0].content.split(f"{subject.name} ")[1].split("?")[0]
        for k, t in enumerate(times, start=1):
            there = subject.box(t) is not None and _place(subject, t) == asked
            if there != (first <= k <= last):
                found.append(f"frame{k}: {asked} is {there}, said frame{first} to frame{last}")
    if sample.family == "absent":
        gone = answer.removeprefix("No ").split(" moves")[0]
        found += [f"{gone} is there"] if gone in {s.name for s in world.shapes} else []
    if sample.family == "caption":
        whole = [s for s in world.shapes if s.name in answer.lower() and _visible_throughout(s, world)]
        found += [f"{s.name}: {_legs(s)}" for s in whole if f"{s.name} {_legs(s)} " not in answer.lower()]
        found += [f"{s.name}: not {way}" for s in whole if (way := _way(s, scene)) and way not in answer.lower()]
    if sample.family == "timeline":
        found += _timeline_lies(world, answer, times)
    return found


def _timeline_lies(world: World, answer: str, times: list[float]) -> list[str]:
    """Each frame of the timeline must name each visible shape and its place."""
    said: dict[int, str] = {}
    for part in answer.rstrip(".").split(". "):
        span, _, state = part.partition(": ")
        ends = [int(n) for n in re.findall(r"frame(\d+)", span)]
        said.update(dict.fromkeys(range(ends[0], ends[-1] + 1), state))
    wrong = []
    for k, t in enumerate(times, start=1):
        truth = {f"{s.name} {_place(s, t)}" for s in world.shapes if s.box(t)} or {"nothing"}
        if set(said[k].split(", ")) != truth:
            wrong.append(f"frame{k}: said {said[k]!r}, true {truth}")
    return wrong


def _subject(world: World, scene: Scene, program: dict) -> Shape | None:
    if "track" not in program:
        return None
    wanted = name(scene.track(program["track"]))
    (found,) = [s for s in world.shapes if s.name == wanted]
    return found


def _box_true(match: re.Match[str], shape: Shape, times: list[float]) -> bool:
    box = shape.box(times[int(match.group(1)) - 1])
    return box is not None and all(abs(int(v) - 1000 * b) <= 1 for v, b in zip(match.groups()[1:], box, strict=True))


def _motion(shape: Shape, time_s: float) -> str | None:
    """The leg's word at a time; None near a change of leg, where a window sees both."""
    at = 0.0
    for leg in shape.legs:
        if at <= time_s < at + leg.duration_s:
            near = (at > 0 and time_s - at < 0.3) or (leg is not shape.legs[-1] and at + leg.duration_s - time_s < 0.3)
            return None if near else (leg.word if leg.word == "still" else f"moving {leg.word}")
        at += leg.duration_s
    return None


def _place(shape: Shape, time_s: float) -> str:
    """By the centre of the visible part, as the reader of the question would see it."""
    box = shape.box(time_s)
    if box is None:
        return "nowhere"
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    column = "left" if x < 1 / 3 else "right" if x >= 2 / 3 else ""
    row = "top" if y < 1 / 3 else "bottom" if y >= 2 / 3 else ""
    if row and column:
        return f"in the {row} {column}"
    if row:
        return f"at the {row}"
    return f"on the {column}" if column else "in the centre"


def _legs(shape: Shape) -> str:
    words = [leg.word for leg in shape.legs]
    if words == ["still"]:
        return "stays still"
    return f"moves {', then '.join('stops' if w == 'still' else w for w in words)}{',' * (len(words) > 1)}"


def _way(shape: Shape, scene: Scene) -> str | None:
    """Where it is at first and at last, as the caption says it; None for what stays where it is."""
    if all(leg.word == "still" for leg in shape.legs):
        return None
    (track,) = [t for t in scene.tracks if name(t) == shape.name]
    first, last = (_place(shape, m.tick / TICKS_A_SECOND) for m in (track.moments[0], track.moments[-1]))
    if first == last:
        return f" {last}"
    return "from the {} to the {}".format(*(p.split(" the ")[1] for p in (first, last)))


def _visible_throughout(shape: Shape, world: World) -> bool:
    return all(shape.box(t) for t in np.arange(0, world.duration_s, 0.1))
