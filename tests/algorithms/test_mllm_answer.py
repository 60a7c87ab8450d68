"""What is an answer, and what each answer that is none is called."""

import json
from typing import Any

import pytest

from stages.algorithms.mllm_answer import Flaw, Flawed, Told, read_answer

SUBJECTS = [
    {"track": 1, "name": "toy car", "attributes": ["red", "small"], "fits": True},
    {"track": 4, "name": "dog", "attributes": [], "fits": False},
]
RIGHT = {"clip": "ab12", "caption": " A toy car passes a dog. ", "subjects": SUBJECTS}


def read(text: str, finish_reason: str = "stop", refusal: str = "") -> Told | Flawed:
    return read_answer(text, finish_reason, refusal, mark="ab12", track_ids=(1, 4), max_words=8)


def changed(**values: Any) -> str:
    return json.dumps(RIGHT | values)


def first(**values: Any) -> str:
    return changed(subjects=[SUBJECTS[0] | values, SUBJECTS[1]])


def test_an_answer_is_read_as_it_stands() -> None:
    told = read(json.dumps(RIGHT))
    assert isinstance(told, Told)
    assert told.caption == "A toy car passes a dog."
    assert [(s.track, s.name, s.attributes, s.fits) for s in told.subjects] == [
        (1, "toy car", ("red", "small"), True), (4, "dog", (), False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "flaw", "says"),
    [
        ("", Flaw.EMPTY, "no text, finish_reason 'stop'"),
        (" \n", Flaw.EMPTY, "no text"),
        ("A toy car.", Flaw.MALFORMED, "Invalid JSON: "),
        (json.dumps(RIGHT)[:-9], Flaw.MALFORMED, "Invalid JSON: "),
        (f"```json\n{json.dumps(RIGHT)}\n```", Flaw.MALFORMED, "Invalid JSON: "),
        (json.dumps([RIGHT]), Flaw.MALFORMED, "Input should be an object"),
        (changed(score=1), Flaw.MALFORMED, "score: Extra inputs"),
        (json.dumps({k: v for k, v in RIGHT.items() if k != "caption"}), Flaw.MALFORMED, "caption: Field required"),
        (changed(caption="  "), Flaw.MALFORMED, "caption: String should have at least 1"),
        (changed(caption=None), Flaw.MALFORMED, "caption: Input should be a valid string"),
        (first(fits="yes"), Flaw.MALFORMED, "subjects.0.fits: Input should be a valid boolean"),
        (first(track="1"), Flaw.MALFORMED, "subjects.0.track: Input should be a valid integer"),
        (first(name=""), Flaw.MALFORMED, "subjects.0.name: String should have at least 1"),
        (first(name="x" * 61), Flaw.MALFORMED, "subjects.0.name: String should have at most 60"),
        ('{"clip": "\\ud800"}', Flaw.MALFORMED, "Invalid JSON: "),  # half a character: no table can hold it
        ("[" * 100_000, Flaw.MALFORMED, "Invalid JSON: "),
        (changed(clip="cd34"), Flaw.OTHER_CLIP, "\"clip\" is 'cd34', not 'ab12'"),
        (changed(subjects=[]), Flaw.OTHER_SUBJECTS, "subjects are [], not [1, 4]"),
        (changed(subjects=SUBJECTS[::-1]), Flaw.OTHER_SUBJECTS, "subjects are [4, 1], not [1, 4]"),
        (changed(subjects=[*SUBJECTS, SUBJECTS[1]]), Flaw.OTHER_SUBJECTS, "subjects are [1, 4, 4], not [1, 4]"),
        (changed(caption="so " * 9), Flaw.TOO_LONG, "the caption has 9 words > 8"),
    ],
)
def test_what_is_no_answer_is_named(text: str, flaw: Flaw, says: str) -> None:
    found = read(text)
    assert isinstance(found, Flawed)
    assert (found.flaw, found.detail[: len(says)]) == (flaw, says)
    assert len(found.detail) < 400


def test_a_cut_or_refused_answer_is_none_even_where_it_could_be_read() -> None:
    whole = json.dumps(RIGHT)
    cut = read(whole, "length")
    assert isinstance(cut, Flawed)
    assert (cut.flaw, "allow more tokens" in cut.detail) == (Flaw.CUT, True)
    assert read(whole, "content_filter") == Flawed(Flaw.REFUSED, whole[:120])
    assert read("", "content_filter") == Flawed(Flaw.REFUSED, "by a content filter")
    assert read("", "stop", "I will not.") == Flawed(Flaw.REFUSED, "I will not.")
