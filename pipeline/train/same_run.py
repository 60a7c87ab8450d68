"""What makes a run the same run: all of its recipe but what it may change when it goes on."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

# How far it goes, how often it saves and is watched, with how many readers, and where its sets lie: which sets they are
# is the plan's matter. All else would make other steps.
FREE = re.compile(r"max_steps|data\.workers|checkpoint\..*|data\.mix\..*\.path|watch\.(path|every_steps)")


def kept_lines(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """What a run must keep of its recipe, as "section.key = value"."""
    return tuple(f"{name} = {value}" for name, value in _flat(recipe) if not FREE.fullmatch(name))


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
