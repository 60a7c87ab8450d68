"""Words that a detector is asked for as text, and which part of the text is which word. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

PROMPTED = ("grounding-dino", "owlv2")  # model types that are asked for the recipe's words
KNOWN = ("rt_detr", "rt_detr_v2")  # and those that know the words of their config
END = "."  # how Grounding DINO parts one phrase from the next


def grounding_prompt(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """("person. traffic light.", where each word lies in it as (first, end) characters); lower case, as it was trained.

    Raises ValueError for a word that holds the mark between words, or says nothing.
    """
    text, spans = "", []
    for word in words:
        phrase = word.strip().lower()
        if not phrase or END in phrase:
            raise ValueError(f"classes: {word!r} cannot be asked for; give words without {END!r}")
        text += " " if text else ""
        spans.append((len(text), len(text) + len(phrase)))
        text += phrase + END
    return text, spans


def token_columns(spans: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]) -> list[list[int]]:
    """For each span of characters the tokens that lie in it; `offsets` are those of the tokens, (0, 0) of marks."""
    return [[k for k, (a, b) in enumerate(offsets) if a < b and first <= a and b <= end] for first, end in spans]


def phrase_scores(scores_NT: np.ndarray, columns: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """The best word of each box, (N,), and its score, (N,): that of its best token, which is the box's own score.

    Transformers' decoding takes all tokens above a threshold instead: two words on one box become "person car".
    """
    by_word_NC = np.stack([scores_NT[:, list(tokens)].max(axis=1) for tokens in columns], axis=1)
    best_N = by_word_NC.argmax(axis=1)
    return best_N, by_word_NC[np.arange(len(best_N)), best_N]


def known_words(config: Mapping[str, object]) -> tuple[str, ...]:
    """The words of a checkpoint's own classes, by class: `id2label` of its config. Raises ValueError without one."""
    given = config.get("id2label")
    if not isinstance(given, Mapping) or not given:
        raise ValueError("its config names no classes (id2label)")
    by_class = {int(number): str(word) for number, word in given.items()}
    return tuple(by_class.get(number, "") for number in range(max(by_class) + 1))
