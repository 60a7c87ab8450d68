"""Changes of what proves and rewards one row of data/: its program, evidence and reward, all JSON."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from schemas.sample import PublishedSample
from stages.algorithms.ask_events import ASKED
from stages.algorithms.asking import to_json
from stages.algorithms.compose import SPATIAL, TEMPORAL
from stages.algorithms.describe import COLOURS, COMPASS, PLACES, STILL
from stages.algorithms.events import AXES
from stages.algorithms.questions import FAMILIES
from stages.algorithms.twins import KINDS
from tests.publish.mutate_basics import EVENT_KINDS, Rng, other, pick, put, swapped, word_changed
from tests.publish.mutate_texts import SampleChange, one_changed, other_text

Path = tuple[str | int, ...]
TEXTS: dict[str, Sequence[str]] = {  # what a string of a program may be instead, by its key
    "by": (*SPATIAL, *TEMPORAL),
    "location": PLACES,
    "motion": (STILL, *COMPASS),
    "side": (*AXES[0], *AXES[1]),
    "detail": ("left to right", "right to left", "above to below", "right to still"),
    "ask": ("trajectory", "identity", "first", "last", "order", "after", "before", "faster", "slower"),
    "subject": tuple(f"small {colour} circle" for colour in COLOURS),
    "op": tuple(FAMILIES),
}
KEYS = (
    "op", "by", "frame", "track", "caption", "ask", "location", "first", "last", "options", "subject", "kind", "motion",
    "event", "events", "axis", "side", "tracks", "say", "of", "turns", "at",
)  # fmt: skip
NESTED = ("op", "frame", "track", "location", "first", "last", "kind", "motion", "other", "detail", "say")


def _json(field: str, change: Callable[[Any, Rng], Any]) -> SampleChange:
    """A column of JSON, in the spelling of all; no change where the value stays."""

    def changed(sample: PublishedSample, rng: Rng) -> PublishedSample | None:
        old = json.loads(getattr(sample, field))
        new = change(json.loads(getattr(sample, field)), rng)
        return None if new is None or new == old else replace(sample, **{field: to_json(new)})

    return changed


def _at_key(key: str, *, nested: bool) -> Callable[[Any, Rng], Any]:
    """Another value of one key of a program, or of a program, event or turn in it."""

    def changed(program: Any, rng: Rng) -> Any:
        path = pick(rng, [p for p in _paths(program) if p[-1] == key and (len(p) > 1) == nested])
        if path is None or program.get("op") == "given":
            return None
        holder = program
        for step in path[:-1]:
            holder = holder[step]
        holder[key] = _other_value(key, holder[key], rng)
        return program

    return changed


def _without_key(program: Any, rng: Rng) -> Any:
    path = pick(rng, list(_paths(program)))
    if path is None or program.get("op") == "given":
        return None
    holder = program
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    return program


def _paths(value: Any) -> Iterator[Path]:
    """Where the keys of a program are, at any depth."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if isinstance(value, dict):
            yield (key,)
        yield from ((key, *path) for path in _paths(inner))


def _other_value(key: str, value: Any, rng: Rng) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + int(rng.choice([-1, 1, 2]))
    if isinstance(value, str):
        kinds = KINDS if value in KINDS else tuple(ASKED) if rng.random() < 0.5 else EVENT_KINDS
        return other(rng, kinds if key == "kind" else TEXTS[key], value)
    if isinstance(value, dict):
        inner = pick(rng, [k for k in value if k != "of"])
        return {**value, inner: _other_value(str(inner), value[inner], rng)}
    if rng.random() < 0.5 and (exchanged := swapped(value, rng)):
        return list(exchanged)
    at = int(rng.integers(len(value)))
    new = f"{value[at]} not" if isinstance(value[at], str) else _other_value("", value[at], rng)
    return list(put(value, at, new))


def _evidence(key: str) -> Callable[[Any, Rng], Any]:
    """One number more, or one less, or another."""

    def changed(evidence: Any, rng: Rng) -> Any:
        found = evidence[key]
        at = int(rng.integers(len(found))) if found else 0
        new = () if found and rng.random() < 0.4 else (int(rng.integers(1, 9)),)
        return {**evidence, key: list(put(found, at, *new))}

    return changed


def _reward_value(reward: Any, rng: Rng) -> Any:
    value = reward["value"]
    if isinstance(value, str):
        new = other_text(value, rng) if reward["kind"] == "choice" else word_changed(value, rng)
    elif isinstance(value, dict) and "seconds" in value:
        new = {**value, "seconds": round(value["seconds"] + float(rng.choice([-0.2, 0.1, 0.5])), 1)}
    elif isinstance(value, dict):
        frame = str(pick(rng, list(value)))
        new = {**value, frame: re.sub(r"\d+", lambda m: str(int(m[0]) + 1), value[frame], count=1)}
    elif isinstance(value, int):
        new = value + 1
    else:
        new = swapped(value, rng) or [value[0], value[-1] + 1]
    return {**reward, "value": new}


def _reward_within(reward: Any, rng: Rng) -> Any:
    if reward["kind"] != "seconds":
        return None
    within = round(reward["value"]["within"] + float(rng.choice([0.1, 0.5, 2.0])), 1)
    return {**reward, "value": {**reward["value"], "within": within}}


def _reward_options(reward: Any, rng: Rng) -> Any:
    if "options" not in reward:
        return None
    options = swapped(reward["options"], rng) if rng.random() < 0.5 else one_changed(reward["options"], rng)
    return {**reward, "options": list(options)} if options else None


def _reward_kind(reward: Any, rng: Rng) -> Any:
    kinds = ("exact", "choice", "iou", "interval_iou", "order", "count", "seconds")
    return {**reward, "kind": other(rng, kinds, reward["kind"])}


PROGRAM_CHANGES: dict[str, SampleChange] = {
    **{f"program: {key}": _json("program", _at_key(key, nested=False)) for key in KEYS},
    **{f"program, nested: {key}": _json("program", _at_key(key, nested=True)) for key in NESTED},
    "program: a key dropped": _json("program", _without_key),
    "evidence: tracks": _json("evidence", _evidence("tracks")),
    "evidence: frames": _json("evidence", _evidence("frames")),
    "reward: value": _json("reward", _reward_value),
    "reward: kind": _json("reward", _reward_kind),
    "reward: options": _json("reward", _reward_options),
    "reward: within": _json("reward", _reward_within),
}
