"""Our manifest: rows with `uri`, `caption` and/or `qa`, and where they are known `subset`, `start_s`, `end_s`.

Caption and questions of a row are independent of each other: each is read without the others as history.
"""

from pipeline.formats.records import BadRecord, BadTurns, Entry, NoText, Turn, Values, medium_of, span_of, unmarked
from stages.algorithms.asking import CAPTION_QUESTION

COLUMNS = ("uri", "caption", "qa", "subset", "start_s", "end_s")


def parse(values: Values, subset: str) -> Entry:
    """The caption, then each question."""
    uri = medium_of(values, "uri")
    caption, named = (_text(values, key) for key in ("caption", "subset"))
    asked = _questions(values.get("qa"))
    said = (Turn(CAPTION_QUESTION, caption, follows=False),) if caption is not None else ()
    if not (said or asked):
        raise NoText("has neither caption nor qa: there is nothing to score")
    start_s, end_s = span_of(values)
    return Entry(uri, named or subset, (*said, *asked), start_s, end_s, caption is not None)


def _text(values: Values, key: str) -> str | None:
    value = values.get(key)
    if value is not None and not isinstance(value, str):
        raise BadRecord(f"{key} is {value!r}; write text, or leave it out")
    return value


def _questions(value: object) -> tuple[Turn, ...]:
    wanted = 'a list like [{"question": "...", "answer": "..."}]'
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadTurns(f"qa is {value!r}; write {wanted}")
    for pair in value:
        right = isinstance(pair, dict) and set(pair) == {"question", "answer"}
        if not right or not all(isinstance(text, str) for text in pair.values()):
            raise BadTurns(f"qa holds {pair!r}; write {wanted}")
    return tuple(Turn(unmarked(pair["question"]), pair["answer"], follows=False) for pair in value)
