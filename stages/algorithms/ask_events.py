"""Families about events: when one happens, if it does, their order, which one comes next, where somebody is then.

An event lies between two planned frames. Two of them have an order where the first one is over at a frame at which the
other has not begun; else nobody could see it, and nothing is asked.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from schemas.clip import Event, Trajectory
from stages.algorithms.asking import (
    LETTER_FORMAT,
    LETTERS,
    ORDER_FORMAT,
    SPAN_FORMAT,
    Program,
    Rendered,
    Unanswerable,
    named,
    place_risk_of,
)
from stages.algorithms.describe import EDGE, STILL, edge_gap, is_labelled
from stages.algorithms.events import ENDS, STARTS, goes_out
from stages.algorithms.scene import Scene, in_place, name, span_text

SINGLE = {
    "enters": "enters", "appears": "appears", "leaves": "leaves", "disappears": "disappears",
    "starts": "starts to move", "stops": "stops", "turns": "turns",
}  # fmt: skip
ASKED = {
    "enters": "enter", "appears": "appear", "leaves": "leave", "disappears": "disappear",
    "starts": "start to move", "stops": "stop", "turns": "turn",
}  # fmt: skip


def spec(event: Event) -> dict[str, Any]:
    """An event as programs name it."""
    other = {} if event.other_id is None else {"other": event.other_id}
    detail = {"detail": event.detail} if event.detail else {}
    return {"kind": event.kind, "track": event.track_id, **other, **detail}


def event_of(scene: Scene, wanted: Mapping[str, Any]) -> Event:
    """The one event that a program means, told apart by its words from all others; raises Unanswerable."""
    found = [e for e in scene.events if spec(e) == wanted]
    if len(found) != 1:
        raise Unanswerable(f"{len(found)} events are {wanted}")
    (event,) = found
    text = event_text(scene, event)
    same = [e for e in scene.events if e.kind == event.kind and _by_named(scene, e) and event_text(scene, e) == text]
    if len(same) != 1:
        raise Unanswerable(f"{len(same)} events are told as {text!r}")
    return event


def event_text(scene: Scene, event: Event) -> str:
    """ "the small red circle stops", "the red car passes the blue car from left to right" """
    who = f"the {name(named(scene, event.track_id))}"
    if event.other_id is None:
        way = f" from {event.detail}" if event.kind == "turns" else ""
        return f"{who} {SINGLE[event.kind]}{way}"
    other = f"the {name(named(scene, event.other_id))}"
    if event.kind == "nears":
        return f"{who} and {other} come near each other"
    if event.kind == "overtakes":
        return f"{who} overtakes {other}"
    return f"{who} passes {other} from {event.detail}"


def happens(scene: Scene, program: Program) -> Rendered:
    """When something happens to a subject, or that it does not: the question is the same (false premises)."""
    track, kind = named(scene, program["track"]), program["kind"]
    if kind not in ASKED:
        raise Unanswerable(f"unknown event {kind!r}; known: {', '.join(ASKED)}")
    if kind in (*STARTS, *ENDS) and goes_out(track):
        raise Unanswerable(f"track {track.track_id} may come and go more than once")
    found = [e for e in scene.events if e.track_id == track.track_id and e.kind == kind]
    question = f"When does the {name(track)} {ASKED[kind]}? {SPAN_FORMAT}"
    if not found:
        risk = _never(scene, track, kind)
        answer = f"The {name(track)} does not {ASKED[kind]} in this video."
        return Rendered(
            question, answer, "event->none", "text", {"kind": "exact", "value": answer}, (track.track_id,),
            tuple(scene.seen(track)), max(track.risk, risk),
        )  # fmt: skip
    if len(found) > 1:
        raise Unanswerable(f"track {track.track_id} {SINGLE[kind]} {len(found)} times")
    first, last = _shown(scene, found[0])
    return Rendered(
        question, f"From {span_text(scene, first, last)}.", "event->time", "interval",
        {"kind": "interval_iou", "value": [first, last]}, (track.track_id,), (first, last),
        max(track.risk, found[0].risk),
    )  # fmt: skip


def order(scene: Scene, program: Program) -> Rendered:
    """The order of events, or the first or last of them."""
    given = [event_of(scene, wanted) for wanted in program["events"]]
    listed, ask = _listed(scene, given), program["ask"]
    ranked = _in_order(scene, given)
    letters = [LETTERS[given.index(e)] for e in ranked]
    about = tuple(sorted({i for e in given for i in _tracks(e)}))
    frames = tuple(sorted({k for e in given for k in _shown(scene, e)}))
    risk = _risk(scene, given)
    if ask == "order":
        return Rendered(
            f"In which order do these happen? {listed} {ORDER_FORMAT}", f"{', '.join(f'({k})' for k in letters)}.",
            "events->order", "order", {"kind": "order", "value": letters}, about, frames, risk,
        )  # fmt: skip
    if ask not in ("first", "last"):
        raise Unanswerable(f"unknown ask {ask!r}")
    chosen = ranked[0 if ask == "first" else -1]
    return Rendered(
        f"Which of these happens {ask}? {listed} {LETTER_FORMAT}",
        f"({letters[0 if ask == 'first' else -1]}) {event_text(scene, chosen)}.", f"events->{ask}", "choice",
        _choice(scene, given, chosen), about, frames, risk,
    )  # fmt: skip


def following(scene: Scene, program: Program) -> Rendered:
    """Which of some events is the next one after another, or the last one before it."""
    anchor, ask = event_of(scene, program["event"]), program["ask"]
    given = [event_of(scene, wanted) for wanted in program["events"]]
    ranked = _in_order(scene, [anchor, *given])
    at = ranked.index(anchor)
    if ask not in ("after", "before"):
        raise Unanswerable(f"unknown ask {ask!r}")
    beyond = ranked[at + 1 :] if ask == "after" else ranked[:at]
    if not beyond or len(beyond) == len(given):
        raise Unanswerable(f"{len(beyond)} of {len(given)} events are {ask} it: nothing is to be chosen")
    chosen = beyond[0] if ask == "after" else beyond[-1]
    which = "the first to happen after" if ask == "after" else "the last to happen before"
    about = tuple(sorted({i for e in (anchor, *given) for i in _tracks(e)}))
    frames = tuple(sorted({k for e in (anchor, *given) for k in _shown(scene, e)}))
    return Rendered(
        f"Which of these is {which} {event_text(scene, anchor)}? {_listed(scene, given)} {LETTER_FORMAT}",
        f"({LETTERS[given.index(chosen)]}) {event_text(scene, chosen)}.", f"event->{ask}", "choice",
        _choice(scene, given, chosen), about, frames, _risk(scene, (anchor, *given)),
    )  # fmt: skip


def during(scene: Scene, program: Program) -> Rendered:
    """Where a subject is when something happens to another."""
    event, track = event_of(scene, program["event"]), named(scene, program["track"])
    if track.track_id in _tracks(event):
        raise Unanswerable("it is its own event")
    first, last = _shown(scene, event)
    seen = scene.seen(track)
    places = {seen[k].location if k in seen else None for k in range(first, last + 1)}
    if len(places) != 1 or None in places:
        raise Unanswerable(f"track {track.track_id} has no single place from frame{first} to frame{last}")
    (place,) = places
    assert place is not None
    answer = f"{in_place(place).capitalize()}."
    risks = [place_risk_of(track, seen[k]) for k in range(first, last + 1)]
    return Rendered(
        f"Where is the {name(track)} when {event_text(scene, event)}?", answer, "event->place", "text",
        {"kind": "exact", "value": answer}, tuple(sorted({track.track_id, *_tracks(event)})),
        tuple(range(first, last + 1)), max(track.risk, _risk(scene, [event]), *risks),
    )  # fmt: skip


def has_order(scene: Scene, events: Sequence[Event]) -> bool:
    """Whether the frames shown tell the order of these events."""
    spans = sorted(span for e in events if (span := scene.between(e)))
    return len(spans) == len(events) and all(one[1] <= other[0] for one, other in pairwise(spans))


def _in_order(scene: Scene, events: Sequence[Event]) -> list[Event]:
    if len(events) < 2 or len(events) > len(LETTERS) or not has_order(scene, events):
        raise Unanswerable(f"the frames shown tell no order of these {len(events)} events")
    return sorted(events, key=lambda e: _shown(scene, e))


def _shown(scene: Scene, event: Event) -> tuple[int, int]:
    span = scene.between(event)
    if span is None:
        raise Unanswerable(f"before or after {spec(event)} nothing is shown")
    return span


def _listed(scene: Scene, events: Sequence[Event]) -> str:
    return " ".join(f"({LETTERS[i]}) {event_text(scene, e)}" for i, e in enumerate(events))


def _choice(scene: Scene, given: Sequence[Event], chosen: Event) -> dict[str, Any]:
    return {
        "kind": "choice", "value": LETTERS[given.index(chosen)], "options": [event_text(scene, e) for e in given],
    }  # fmt: skip


def _tracks(event: Event) -> tuple[int, ...]:
    return (event.track_id,) if event.other_id is None else (event.track_id, event.other_id)


def _risk(scene: Scene, events: Sequence[Event]) -> float:
    about = {i for e in events for i in _tracks(e)}
    return max([e.risk for e in events] + [t.risk for t in scene.tracks if t.track_id in about])


def _by_named(scene: Scene, event: Event) -> bool:
    """Whether words can tell whose event it is."""
    try:
        for i in _tracks(event):
            named(scene, i)
    except Unanswerable:
        return False
    return True


def _never(scene: Scene, track: Trajectory, kind: str) -> float:
    """The risk that it happens all the same; raises Unanswerable where that is not known."""
    seen = scene.seen(track)
    words = {m.action for m in track.moments}
    if kind in STARTS and (1 not in seen or scene.event(track, STARTS)):
        raise Unanswerable(f"track {track.track_id} comes into view")
    if kind in ("leaves", "disappears") and (
        scene.n_frames not in seen or scene.event(track, ("leaves", "disappears"))
    ):
        raise Unanswerable(f"track {track.track_id} goes out of view")
    end = track.moments[0 if kind in STARTS else -1]
    if kind in (*STARTS, *ENDS) and edge_gap(end.box_xyxy_px, track.frame_width_px, track.frame_height_px) <= EDGE:
        raise Unanswerable(f"track {track.track_id} is cut by the edge: it may be coming or going")
    if kind in ("starts", "stops") and len({word == STILL for word in words}) > 1:
        raise Unanswerable(f"track {track.track_id} both stands and moves")
    if kind == "turns" and len(words - {STILL}) > 1:
        raise Unanswerable(f"track {track.track_id} moves more than one way")
    if kind in (*STARTS, *ENDS):
        return 0.0
    if is_labelled(track) and len(seen) < scene.n_frames:
        raise Unanswerable(f"track {track.track_id} may have done so unseen")
    # One unsure moment is jitter; what is unsure for three in a row could be a motion of its own.
    risks = [m.action_risk for m in track.moments]
    return max((min(three) for three in zip(risks, risks[1:], risks[2:], strict=False)), default=max(risks))
