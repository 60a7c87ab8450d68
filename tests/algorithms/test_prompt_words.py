"""Which part of a prompt is which word, and which word a box is of."""

import numpy as np
import pytest

from stages.algorithms.prompt_words import grounding_prompt, known_words, phrase_scores, token_columns

# "[CLS] person . traffic light . [SEP]"
OFFSETS = [(0, 0), (0, 6), (6, 7), (8, 15), (16, 21), (21, 22), (0, 0)]


def test_each_word_is_found_again_in_the_tokens() -> None:
    text, spans = grounding_prompt(["Person", " traffic light "])
    assert text == "person. traffic light."
    assert [text[first:end] for first, end in spans] == ["person", "traffic light"]
    assert token_columns(spans, OFFSETS) == [[1], [3, 4]]


def test_a_box_is_of_the_word_with_the_best_token_and_marks_count_for_nothing() -> None:
    columns = token_columns(grounding_prompt(["person", "traffic light"])[1], OFFSETS)
    scores = np.zeros((3, len(OFFSETS)))
    scores[0, [1, 3]] = 0.6, 0.5  # both words above any threshold: transformers would say "person traffic"
    scores[1, [3, 4]] = 0.1, 0.7  # half of the word is enough
    scores[2, [0, 2, 5, 6]] = 0.9  # marks only
    words, best = phrase_scores(scores, columns)
    assert words.tolist()[:2] == [0, 1]
    assert best.tolist() == [0.6, 0.7, 0.0]


@pytest.mark.parametrize("word", ["", "  ", "no. 5"])
def test_words_that_cannot_be_asked_for_are_named(word: str) -> None:
    with pytest.raises(ValueError, match="cannot be asked for"):
        grounding_prompt(["person", word])


def test_a_checkpoints_words_are_by_class() -> None:
    assert known_words({"id2label": {"2": "car", "0": "person"}}) == ("person", "", "car")
    with pytest.raises(ValueError, match="id2label"):
        known_words({})
