"""VideoChat2's format: a JSON list of records with `video` and `QA`, a list of {i, q, a}; `start` and `end` at times.

The list of one record is one conversation, in the order of the file. A question is the instruction i and the question
q; where q is empty throughout, the answer is a caption.
"""

from pipeline.formats.records import BadTurns, Entry, Turn, Values, medium_of, span_of, unmarked


def parse(values: Values, subset: str) -> Entry:
    """Every answer is a target; the pairs before it are its history."""
    uri = medium_of(values)
    pairs = values.get("QA")
    if not isinstance(pairs, list) or not pairs:
        raise BadTurns(f'QA is {pairs!r}; write a list like [{{"i": "...", "q": "...", "a": "..."}}]')
    turns = tuple(_turn(pair, k) for k, pair in enumerate(pairs))
    start_s, end_s = span_of(values)
    caption = len(pairs) == 1 and not pairs[0].get("q")
    return Entry(uri, subset, turns, start_s, end_s, caption)


def _turn(pair: object, k: int) -> Turn:
    if not isinstance(pair, dict) or not isinstance(pair.get("a"), str):
        raise BadTurns(f'QA {k} is {pair!r}; write {{"i": "...", "q": "...", "a": "..."}}')
    asked = [pair.get("i") or "", pair.get("q") or ""]
    if not all(isinstance(text, str) for text in asked):
        raise BadTurns(f"QA {k}: i and q are texts, got {asked!r}")
    return Turn(unmarked("\n".join(text for text in asked if text)), pair["a"])
