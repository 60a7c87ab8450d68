"""Changes of what happens in one row of clips/: its events, relations and captions."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from schemas.clip import Caption, Event, Relation
from schemas.sample import PublishedClip
from stages.algorithms.events import ENDS, STARTS
from tests.publish.mutate_basics import (
    EVENT_KINDS,
    Rng,
    off,
    other,
    pick,
    put,
    risk_changed,
    swapped,
    ticks_off,
    word_changed,
)

ClipChange = Callable[[PublishedClip, Rng], PublishedClip | None]  # None: there is nothing to change
RELATION_WORDS = ("left of", "right of", "above", "below")


def of_item(field: str, change: Callable[[Any, Rng], Any]) -> ClipChange:
    """One event, relation or caption."""

    def changed(clip: PublishedClip, rng: Rng) -> PublishedClip | None:
        items = getattr(clip, field)
        if not items:
            return None
        at = int(rng.integers(len(items)))
        item = change(items[at], rng)
        return None if item is None else replace(clip, **{field: put(items, at, item)})

    return changed


def dropped(field: str) -> ClipChange:
    def changed(clip: PublishedClip, rng: Rng) -> PublishedClip | None:
        items = getattr(clip, field)
        return replace(clip, **{field: put(items, int(rng.integers(len(items))))}) if items else None

    return changed


def doubled(field: str) -> ClipChange:
    def changed(clip: PublishedClip, rng: Rng) -> PublishedClip | None:
        items = getattr(clip, field)
        at = int(rng.integers(len(items))) if items else 0
        return replace(clip, **{field: put(items, at, items[at], items[at])}) if items else None

    return changed


def reordered(field: str) -> ClipChange:
    def changed(clip: PublishedClip, rng: Rng) -> PublishedClip | None:
        items = swapped(getattr(clip, field), rng)
        return None if items is None else replace(clip, **{field: items})

    return changed


def _event_added(clip: PublishedClip, rng: Rng) -> PublishedClip | None:
    """Something that may be there, at the first or last moment of a track or anywhere."""
    track = pick(rng, clip.tracks)
    assert track is not None
    kind = str(rng.choice(EVENT_KINDS))
    at = 0 if kind in STARTS else -1 if kind in ENDS else int(rng.integers(len(track.moments)))
    event = Event(kind=kind, track_id=track.track_id, tick=track.moments[at].tick, risk=float(rng.random()))
    return replace(clip, events=put(clip.events, 0, event, *clip.events[:1])) if event not in clip.events else None


def _event_id(event: Event, rng: Rng) -> Event:
    return replace(event, track_id=event.track_id + int(rng.integers(1, 3)))


def _event_other(event: Event, rng: Rng) -> Event:
    ids = [k for k in (None, 1, 2, 3) if k != event.other_id]
    return replace(event, other_id=pick(rng, ids))


def _event_since(event: Event, rng: Rng) -> Event:
    since = event.tick if event.since_tick is None else event.since_tick + ticks_off(rng)
    return replace(event, since_tick=since)


def _event_detail(event: Event, rng: Rng) -> Event:
    return replace(event, detail=word_changed(event.detail, rng) or "left to right")


def _relation_ends(relation: Relation, rng: Rng) -> Relation:
    if rng.random() < 0.5:
        return replace(relation, start_tick=relation.start_tick + ticks_off(rng))
    return replace(relation, end_tick=relation.end_tick + ticks_off(rng))


def _relation_word(relation: Relation, rng: Rng) -> Relation:
    return replace(relation, word=other(rng, RELATION_WORDS, relation.word))


def _caption_word(caption: Caption, rng: Rng) -> Caption | None:
    """Of what the engine says: the words of a user follow from nothing."""
    text = word_changed(caption.text, rng) if caption.kind != "given" else None
    return replace(caption, text=text) if text else None


def _caption_parts(caption: Caption, rng: Rng) -> Caption | None:
    """Two clauses, or two sentences, exchanged."""
    mark = ". " if ". " in caption.text else ", "
    parts = swapped(caption.text.split(mark), rng)
    return replace(caption, text=mark.join(parts)) if parts else None


EVENT_CHANGES: dict[str, ClipChange] = {
    "event: kind": of_item("events", lambda e, rng: replace(e, kind=other(rng, EVENT_KINDS, e.kind))),
    "event: tick": of_item("events", lambda e, rng: replace(e, tick=e.tick + ticks_off(rng))),
    "event: since_tick": of_item("events", _event_since),
    "event: track": of_item("events", _event_id),
    "event: other": of_item("events", _event_other),
    "event: detail": of_item("events", _event_detail),
    "event: risk": of_item("events", lambda e, rng: replace(e, risk=risk_changed(e.risk, rng))),
    "event: dropped": dropped("events"),
    "event: doubled": doubled("events"),
    "event: added": _event_added,
    "events: order": reordered("events"),
    "relation: word": of_item("relations", _relation_word),
    "relation: ticks": of_item("relations", _relation_ends),
    "relation: ids exchanged": of_item(
        "relations", lambda r, rng: replace(r, track_id=r.other_id, other_id=r.track_id)
    ),
    "relation: dropped": dropped("relations"),
    "relation: doubled": doubled("relations"),
    "relations: order": reordered("relations"),
    "caption: word": of_item("captions", _caption_word),
    "caption: parts exchanged": of_item("captions", _caption_parts),
    "caption: kind": of_item(
        "captions", lambda c, rng: replace(c, kind=other(rng, ("global", "timeline", "given"), c.kind))
    ),
    "caption: describer": of_item("captions", lambda c, rng: replace(c, describer="somebody/1")),
    "caption: dropped": dropped("captions"),
    "captions: order": reordered("captions"),
    "caption score: dropped": dropped("caption_scores"),
    "caption score: tpl": of_item("caption_scores", lambda s, rng: replace(s, tpl=s.tpl + off(rng, 0.01, 1))),
}
