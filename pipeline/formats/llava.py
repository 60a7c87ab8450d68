"""LLaVA's format: a JSON list of records with `video` (or `image`) and `conversations` from human and gpt in turn."""

from pipeline.formats.records import MARKS, BadTurns, Entry, Turn, Values, medium_of, span_of, unmarked

ASKS, ANSWERS = frozenset({"human", "user"}), frozenset({"gpt", "assistant"})
SUBSETS = ("subset", "data_source", "source")
MEDIA = ("video", "image")


def parse(values: Values, subset: str, *, medium: str = "video", text_only: bool = False) -> Entry:
    """Every assistant turn is a target; the turns before it are its history. With `text_only`, a record may have no
    medium: it names none, and none of its turns asks for one."""
    uri = "" if text_only and _is_text(values) else medium_of(values, medium)
    named = next((values[key] for key in SUBSETS if isinstance(values.get(key), str) and values[key]), subset)
    start_s, end_s = span_of(values)
    return Entry(uri, str(named), _turns(values.get("conversations")), start_s, end_s)


def _turns(conversation: object) -> tuple[Turn, ...]:
    if not isinstance(conversation, list) or not conversation:
        raise BadTurns(f"conversations is {_short(conversation)}; write a list of turns from human and gpt")
    said = [_said(turn, k) for k, turn in enumerate(conversation)]
    if len(said) % 2:
        raise BadTurns(f"{len(said)} turns: a question without an answer, or an answer without a question")
    return tuple(Turn(unmarked(said[k]), said[k + 1]) for k in range(0, len(said), 2))


def _is_text(values: Values) -> bool:
    if any(values.get(key) for key in MEDIA):
        return False
    said = values.get("conversations")
    return isinstance(said, list) and not any(mark in str(turn) for turn in said for mark in MARKS)


def _said(turn: object, k: int) -> str:
    wanted = ASKS if k % 2 == 0 else ANSWERS
    if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
        raise BadTurns(f'turn {k} is {_short(turn)}; write {{"from": "human" | "gpt", "value": "..."}}')
    if turn.get("from") not in wanted:
        raise BadTurns(f"turn {k} is from {turn.get('from')!r}; human and gpt speak in turn, human first")
    return str(turn["value"])


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
