"""What is true of a generated world about events, durations, sides and twins, said without the engine's own code."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import hypot

import numpy as np

from schemas.sample import Sample
from stages.algorithms.scene import Scene, name
from stages.algorithms.world import STEP, Shape, World

BLUR_S = 0.3  # a motion word sees a quarter of a second to both sides, on a grid of a tenth
SIDE = 0.08  # of the frame: where "left of" begins
NEAR_SIDE = 0.012  # boxes of truth are rounded to nothing; cut ones are not their shape's centre
FASTER = 1.4
BACK = {"left": "right", "right": "left", "up": "down", "down": "up"}


@dataclass(frozen=True)
class Shown:
    """The frames of a sample: at which time of the world each was taken, and whether it is mirrored."""

    world: World
    names: dict[int, Shape]  # by track
    time_s: tuple[float, ...]
    mirrored: bool = False

    @property
    def n(self) -> int:
        return len(self.time_s)

    def box(self, shape: Shape, frame: int) -> tuple[float, float, float, float] | None:
        box = shape.box(self.time_s[frame - 1])
        if box is None or not self.mirrored:
            return box
        return 1 - box[2], box[1], 1 - box[0], box[3]

    def place(self, shape: Shape, frame: int) -> str:
        box = self.box(shape, frame)
        assert box is not None
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        column = "left" if x < 1 / 3 else "right" if x >= 2 / 3 else ""
        row = "top" if y < 1 / 3 else "bottom" if y >= 2 / 3 else ""
        return f"{row} {column}".strip() or "centre"

    def offset(self, one: Shape, other: Shape, axis: int, frame: int) -> float:
        a, b = self.box(one, frame), self.box(other, frame)
        assert a is not None
        assert b is not None
        return (a[axis] + a[axis + 2] - b[axis] - b[axis + 2]) / 2


def shown(world: World, scene: Scene, ticks_a_second: int, sample: Sample) -> Shown:
    by_name = {s.name: s for s in world.shapes}
    names = {t.track_id: by_name[name(t)] for t in scene.tracks}
    order = sample.frame_order or range(1, scene.n_frames + 1)
    times = tuple(scene.frame_tick[k - 1] / ticks_a_second for k in order)
    return Shown(world, names, times, sample.mirrored)


def untrue(world: World, scene: Scene, ticks_a_second: int, sample: Sample) -> list[str]:
    """What is not true of an answer of the families beyond the paper's, and of all twins."""
    program = json.loads(sample.program)
    view = shown(world, scene, ticks_a_second, sample)
    said = [message.content for message in sample.messages]
    if program["op"] == "twin":
        plain = shown(world, scene, ticks_a_second, replace(sample, frame_order=None, mirrored=False))
        return _twin(view, program, said[1], sample) + mislabelled(view, plain, sample)
    if program["op"] == "conversation":
        answers = said[1::2]
        return [lie for of, answer in zip(program["turns"], answers, strict=True) for lie in judged(view, of, answer)]
    return judged(view, program, said[1])


def judged(view: Shown, program: dict, answer: str) -> list[str]:
    judge = TRUTH.get(program["op"])
    return [] if judge is None else [f"{program}: {why}" for why in judge(view, program, answer)]


def _twin(view: Shown, program: dict, answer: str, sample: Sample) -> list[str]:
    kind, of = program["kind"], program["of"]
    n = view.n
    order = list(sample.frame_order or ())
    right = {
        "reversed": order == list(range(n, 0, -1)),
        "mirrored": sample.mirrored and order == list(range(1, n + 1)),
        "swapped": not sample.mirrored and order != sorted(order) and sorted(order) == list(range(1, n + 1)),
        "frozen": len(set(order)) == 1,
        "slowed": order == sorted(order) and len(set(order)) == (n + 1) // 2,
    }[kind]
    wrong = [] if right else [f"{kind}: {order}, mirrored {sample.mirrored}"]
    if sample.twin_effect == "unanswerable":
        moves = of["op"] in ("direction", "happens", "order", "next", "faster", "acting", "lasting")
        return wrong + ([] if kind == "frozen" and moves and "one picture" in answer else [f"unanswerable: {program}"])
    if of["op"] == "direction":
        return wrong + _shown_direction(view, of, answer)
    if of["op"] == "doing":
        return wrong + _shown_doing(view, kind, of, answer)
    if of["op"] in ("happens", "order", "next"):
        return wrong + _shown_events(view, kind, of, answer)
    return wrong + judged(view, of, answer)


def mislabelled(view: Shown, plain: Shown, sample: Sample) -> list[str]:
    """Whether the answer of a twin is as true of the film itself as its label says."""
    of = json.loads(sample.program)["of"]
    if sample.twin_effect == "unanswerable" or of["op"] not in ("where", "when", "beside", "count", "direction"):
        return []
    judge = _shown_direction if of["op"] == "direction" else judged
    keeps = not judge(plain, of, sample.messages[1].content)
    box = [re.findall(r"\[.*?\]", sample.messages[1].content)] if of["op"] == "where" else []
    if box and keeps:  # the same place, but another box
        shape = view.names[of["track"]]
        keeps = view.box(shape, of["frame"]) == plain.box(shape, of["frame"])
    return [] if keeps == (sample.twin_effect == "must-not-change") else [f"{sample.twin_effect}, yet keeps {keeps}"]


# Events: when they truly happen, seconds of the world.


def times_of(view: Shown, kind: str, shape: Shape, *, whole: bool = False) -> list[float]:
    """When it happens to the shape within the film. `whole`: only where all can see it, not at the edge of the frame or
    of the film."""
    end_s = view.world.duration_s
    grid = [k / 10 for k in range(int(end_s * 10) + 1) if k / 10 < end_s]
    there = [shape.box(t) is not None for t in grid]
    changes = [(grid[k], there[k]) for k in range(1, len(grid)) if there[k] != there[k - 1]]
    if kind in ("appears", "enters"):
        changes = [c for c in changes if not whole or BLUR_S < c[0] < end_s - BLUR_S]
        own = shape.appears_s > 0
        # Who appears where the edge cuts it looks as if it came in.
        return [t for t, comes in changes if comes and (own == (kind == "appears") or _is_cut(shape, t))]
    if kind in ("disappears", "leaves"):
        changes = [c for c in changes if not whole or BLUR_S < c[0] < end_s - BLUR_S]
        own = shape.disappears_s < end_s
        return [t for t, comes in changes if not comes and (own == (kind == "disappears") or _is_cut(shape, t - 0.1))]
    at, found = 0.0, []
    for before, after in pairwise(shape.legs):
        at += before.duration_s
        told = "stops" if after.word == "still" else "starts" if before.word == "still" else "turns"
        seen = all(shape.box(t) for t in (at - BLUR_S, at, at + BLUR_S) if 0 <= t < end_s)
        if (
            told == kind
            and at < end_s
            and (seen or not whole)
            and (told != "turns" or _angle(before.word, after.word) >= 89)
        ):
            found.append(at)
    return found


def _is_cut(shape: Shape, time_s: float) -> bool:
    box = shape.box(time_s)
    return box is not None and (min(box) <= 0.0 or max(box) >= 1.0)


def _angle(one: str, other: str) -> float:
    (a, b), (c, d) = STEP[one], STEP[other]
    cosine = (a * c + b * d) / hypot(a, b) / hypot(c, d)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _event_span(view: Shown, event: dict) -> tuple[float, float]:
    """Between which times of the world an event is; meetings are known by the centres."""
    shape = view.names[event["track"]]
    if "other" not in event:
        found = times_of(view, event["kind"], shape)
        assert len(found) == 1, (event, found)
        return found[0] - BLUR_S, found[0] + BLUR_S
    other = view.names[event["other"]]
    grid = [k / 10 for k in range(int(view.world.duration_s * 10) + 1)]
    both = [t for t in grid if shape.box(t) and other.box(t)]
    if event["kind"] == "nears":
        gaps = {t: hypot(*(a - b for a, b in zip(shape.centre(t), other.centre(t), strict=True))) for t in both}
        nearest = min(gaps, key=lambda t: gaps[t])
        farthest = max((t for t in both if t <= nearest), key=lambda t: gaps[t])
        assert gaps[farthest] > 1.4 * gaps[nearest], event
        return farthest - 0.1, nearest + 0.1
    vertical = "above" in event["detail"] or event["detail"] in ("up", "down")
    off = {t: shape.centre(t)[vertical] - other.centre(t)[vertical] for t in both}
    to = event["detail"].split(" ")[-1] in ("right", "below", "down")
    crossed = [t for s, t in pairwise(both) if (off[s] < 0) != (off[t] < 0) and (off[t] > 0) == to]
    assert len(crossed) == 1, event
    apart = [t for t in both if abs(off[t]) >= SIDE - NEAR_SIDE]
    return (max([t for t in apart if t < crossed[0]], default=both[0]) - 0.1,
            min([t for t in apart if t >= crossed[0]], default=both[-1]) + 0.1)  # fmt: skip


def _happens(view: Shown, program: dict, answer: str) -> list[str]:
    shape = view.names[program["track"]]
    found = times_of(view, program["kind"], shape)
    if "does not" in answer:
        found = times_of(view, program["kind"], shape, whole=True)
        return [f"said {answer!r}, happens at {found}"] if found else []
    first, last = _frames(answer)
    inside = [t for t in found if view.time_s[first - 1] - BLUR_S <= t <= view.time_s[last - 1] + BLUR_S]
    return [] if inside and len(found) == 1 else [f"said {answer!r}, happens at {found}"]


def _ranked(view: Shown, events: Sequence[dict]) -> list[int]:
    spans = [_event_span(view, e) for e in events]
    return sorted(range(len(events)), key=lambda i: sum(spans[i]))


def _order(view: Shown, program: dict, answer: str) -> list[str]:
    ranked = "".join("ABCDEFGH"[i] for i in _ranked(view, program["events"]))
    said = "".join(re.findall(r"\(([A-H])\)", answer))
    right = {"order": ranked, "first": ranked[0], "last": ranked[-1]}[program["ask"]]
    return [] if said == right else [f"said {said}, true {right}"]


def _next(view: Shown, program: dict, answer: str) -> list[str]:
    everything = [program["event"], *program["events"]]
    ranked = _ranked(view, everything)
    at = ranked.index(0) + (1 if program["ask"] == "after" else -1)
    right = "ABCDEFGH"[ranked[at] - 1]
    return [] if answer.startswith(f"({right})") else [f"said {answer!r}, true {right}"]


def _during(view: Shown, program: dict, answer: str) -> list[str]:
    start, end = _event_span(view, program["event"])
    middle = (start + end) / 2
    k = min(range(1, view.n + 1), key=lambda k: abs(view.time_s[k - 1] - middle))
    there = view.place(view.names[program["track"]], k)
    return [] if answer.lower().rstrip(".").endswith(f"the {there}") else [f"said {answer!r}, is {there}"]


# Motion.


def _legs(shape: Shape) -> list[tuple[str, float, float]]:
    at, found = 0.0, []
    for leg in shape.legs:
        found.append((leg.word, at, at + leg.duration_s))
        at += leg.duration_s
    return found


def _words(answer: str) -> list[str]:
    said = answer.removeprefix("It ").rstrip(".").split(", then ")
    return ["still" if "still" in w or w == "stops" else w.removeprefix("moves ") for w in said]


def _doing(view: Shown, program: dict, answer: str) -> list[str]:
    start, end = view.time_s[program["first"] - 1], view.time_s[program["last"] - 1]
    return _told(_legs(view.names[program["track"]]), start, end, _words(answer))


def _told(legs: list[tuple[str, float, float]], start: float, end: float, said: list[str]) -> list[str]:
    parts = [(word, min(b, end) - max(a, start)) for word, a, b in legs if min(b, end) - max(a, start) > 0]
    must = [word for word, length in parts if length > BLUR_S]
    may = [word for word, _ in parts]
    return [] if said in (must, may) else [f"said {said}, true {must} or {may}"]


def _acting(view: Shown, program: dict, answer: str) -> list[str]:
    shape, wrong = view.names[program["track"]], []
    legs = [(a, b) for word, a, b in _legs(shape) if word == program["motion"]]
    first, last = _frames(answer)
    for k in range(1, view.n + 1):
        t = view.time_s[k - 1]
        seen = shape.box(t) is not None
        sure = seen and any(a + BLUR_S <= t <= b - BLUR_S or (a == 0 and t <= b - BLUR_S) for a, b in legs)
        never = not seen or all(t < a - BLUR_S or t > b + BLUR_S for a, b in legs)
        if (sure and not first <= k <= last) or (never and first <= k <= last):
            wrong.append(f"frame{k}: said {answer!r}, does so {legs}")
    return wrong


def _lasting(view: Shown, program: dict, answer: str) -> list[str]:
    shape = view.names[program["track"]]
    (seconds,) = map(float, re.findall(r"\d+\.\d", answer))
    visible = [k / 100 for k in range(int(view.world.duration_s * 100)) if shape.box(k / 100)]
    true = sum(max(0.0, min(b, visible[-1]) - max(a, visible[0])) for w, a, b in _legs(shape) if w == program["motion"])
    return [] if abs(seconds - true) <= 2 * BLUR_S else [f"said {seconds} s, true {true:.2f} s"]


# Sides, speeds, numbers.


def _beside(view: Shown, program: dict, answer: str) -> list[str]:
    one, other = (view.names[i] for i in program["tracks"])
    off = view.offset(one, other, program["axis"], program["frame"])
    right = (("to the left", "to the right"), ("above", "below"))[program["axis"]][off > 0]
    return [] if right in answer.lower() and abs(off) > SIDE - NEAR_SIDE else [f"said {answer!r}, is off by {off:.3f}"]


def _beside_when(view: Shown, program: dict, answer: str) -> list[str]:
    one, other = (view.names[i] for i in program["tracks"])
    sign = -1 if program["side"] in ("left of", "above") else 1
    first, last = _frames(answer)
    wrong = []
    for k in range(1, view.n + 1):
        off = sign * view.offset(one, other, program["axis"], k)
        if abs(off - SIDE) > NEAR_SIDE and (off > SIDE) != (first <= k <= last):
            wrong.append(f"frame{k}: off by {off:.3f}, said {answer!r}")
    return wrong


def _faster(view: Shown, program: dict, answer: str) -> list[str]:
    speeds = []
    for i in program["tracks"]:
        shape = view.names[i]
        steps = [
            (view.time_s[k], view.time_s[k + 1])
            for k in range(view.n - 1)
            if shape.box(view.time_s[k]) and shape.box(view.time_s[k + 1])
        ]
        way = sum(hypot(*(a - b for a, b in zip(shape.centre(s), shape.centre(t), strict=True))) for s, t in steps)
        speeds.append(way / abs(sum(t - s for s, t in steps)))
    right = speeds.index(max(speeds) if program["ask"] == "faster" else min(speeds))
    sure = max(speeds) / max(min(speeds), 1e-9) >= FASTER
    return [] if sure and answer.startswith(f"({'AB'[right]})") else [f"said {answer!r}, speeds {speeds}"]


def _count(view: Shown, program: dict, answer: str) -> list[str]:
    true = sum(view.box(s, program["frame"]) is not None for s in view.world.shapes)
    return [] if answer == f"{true}." else [f"said {answer!r}, true {true}"]


def _choice(view: Shown, program: dict, answer: str) -> list[str]:
    right = [o for o in program["options"] if not judged(view, program["of"], o)] if _can_judge(program["of"]) else []
    said = answer[4:]
    listed = program["options"]["ABCDEFGH".index(answer[1])]
    wrong = [] if said == listed else [f"the letter is {listed!r}, the text {said!r}"]
    return wrong if not _can_judge(program["of"]) or said in right else [*wrong, f"said {said!r}, true {right}"]


def _can_judge(program: dict) -> bool:
    return program["op"] in TRUTH


def _where(view: Shown, program: dict, answer: str) -> list[str]:
    there = view.place(view.names[program["track"]], program["frame"])
    return [] if answer.split(",")[0].lower().endswith(f"the {there}") else [f"said {answer!r}, is {there}"]


def _when(view: Shown, program: dict, answer: str) -> list[str]:
    shape = view.names[program["track"]]
    first, last = _frames(answer)
    return [
        f"frame{k}: {answer!r}"
        for k in range(1, view.n + 1)
        if (view.box(shape, k) is not None and view.place(shape, k) == program["location"]) != (first <= k <= last)
    ]


# Twins whose truth is not that of single frames.


def _shown_direction(view: Shown, of: dict, answer: str) -> list[str]:
    """By the way of the centre between the frames that are shown."""
    shape = view.names[of["track"]]
    a, b = view.box(shape, of["first"]), view.box(shape, of["last"])
    assert a is not None
    assert b is not None
    dx, dy = b[0] + b[2] - a[0] - a[2], b[1] + b[3] - a[1] - a[3]
    x, y = STEP[answer[4:-1]]
    cosine = (dx * x + dy * y) / max(hypot(dx, dy), 1e-9) / hypot(x, y)
    return [] if cosine > 0.9 else [f"said {answer!r}, goes {dx:.2f}, {dy:.2f}"]


def _turned(word: str, kind: str) -> str:
    return " ".join(
        BACK.get(w, w) if kind == "reversed" or w in ("left", "right") else w for w in word.split(" ")
    )  # fmt: skip


def _shown_doing(view: Shown, kind: str, of: dict, answer: str) -> list[str]:
    legs = _legs(view.names[of["track"]])
    start, end = view.time_s[of["first"] - 1], view.time_s[of["last"] - 1]
    said = [_turned(word, kind) for word in _words(answer)]
    if kind == "reversed":
        start, end, said = end, start, said[::-1]
    return _told(legs, start, end, said)


def _shown_events(view: Shown, kind: str, of: dict, answer: str) -> list[str]:
    """The same in the film itself, with what is backward turned round; the order of a swapped film by its frames."""
    if of["op"] == "happens":
        inverse = {"enters": "leaves", "appears": "disappears", "starts": "stops"}
        inverse |= {b: a for a, b in inverse.items()}
        own = str(of["kind"])
        told = inverse.get(own, own) if kind == "reversed" else own
        found = times_of(view, told, view.names[of["track"]])
        if "does not" in answer:
            found = times_of(view, told, view.names[of["track"]], whole=True)
            return [f"said {answer!r}, happens at {found}"] if found else []
        span = sorted(view.time_s[k - 1] for k in _frames(answer))
        ok = len(found) == 1 and span[0] - BLUR_S <= found[0] <= span[1] + BLUR_S
        return [] if ok else [f"said {answer!r}, happens at {found}"]
    if kind == "mirrored":
        return [] if "left" in str(of) or "right" in str(of) else judged(view, of, answer)
    if kind != "swapped":
        return []
    position = {}
    for event in [*of["events"], *([of["event"]] if "event" in of else [])]:
        middle = sum(_event_span(view, event)) / 2
        position[json.dumps(event)] = min(range(view.n), key=lambda k: abs(view.time_s[k] - middle))
    if of["op"] == "order":
        ranked = sorted(range(len(of["events"])), key=lambda i: position[json.dumps(of["events"][i])])
        right = {"order": ranked, "first": ranked[:1], "last": ranked[-1:]}[of["ask"]]
        said = ["ABCDEFGH".index(letter) for letter in re.findall(r"\(([A-H])\)", answer)]
        return [] if said == right else [f"said {said}, true {right}"]
    return []


def _frames(answer: str) -> tuple[int, int]:
    first, last = re.findall(r"frame(\d+)", answer)[:2]
    return int(first), int(last)


TRUTH: dict[str, Callable[[Shown, dict, str], list[str]]] = {
    "happens": _happens, "order": _order, "next": _next, "during": _during, "doing": _doing, "acting": _acting,
    "lasting": _lasting, "beside": _beside, "beside_when": _beside_when, "faster": _faster, "count": _count,
    "choice": _choice, "where": _where, "when": _when,
}  # fmt: skip
