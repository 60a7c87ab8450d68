"""What is asked that has few answers, who answers it without the film, and how sure the figure is."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from stages.algorithms.closed import ACTIONS, PLACES, SPANS, Closed, closed
from stages.algorithms.describe import COMPASS, place
from stages.algorithms.shortcuts import MAX_DRAWN, Measured, baseline, drawn, majority, measure
from tests.worlds import worlds


def asked(answers: Sequence[str], *, options: tuple[str, ...] = ("a", "b"), words: Sequence[str] = ()) -> list[Closed]:
    """A question for each answer, of a video of its own; `words` are what is read."""
    return [
        Closed("span", f"s{k:05d}", f"g{k}", f"v{k}", words[k] if words else "When?", answer, options)
        for k, answer in enumerate(answers)
    ]


def only(questions: Sequence[Closed]) -> Measured:
    (found,) = measure(questions)
    return found


SAID: dict[str, Callable[[str], str]] = {
    "letter": lambda text: text[1],
    "direction": lambda text: text[4:-1],
    "place": lambda text: text.split(",")[0].lower().split(" the ")[1],
    "action": lambda text: re.split(" (?:in|on|at) the ", text.split(", ")[1])[0],
    "identity": lambda text: text.removeprefix("The ").removesuffix("."),
    "presence": lambda text: "no" if text.startswith("No ") else "yes",
}


def test_every_closed_question_has_the_answer_that_its_sample_gives() -> None:
    """Read from the sentences, which closed.py never looks at."""
    seen = set()
    for _, scene, samples in worlds(40):
        texts = {s.sample_id: (s.family, s.messages[1].content) for s in samples}
        for q in closed(scene, "v", samples):
            family, text = texts[q.sample_id]
            said = SAID[q.ask](text) if q.ask != "span" else _span(text, scene.n_frames)
            assert q.answer == said, (family, text)
            assert not q.options or q.answer in q.options
            seen.add(q.ask)
    assert seen == {"letter", "direction", "place", "action", "identity", "presence", "span"}


def _span(text: str, n_frames: int) -> str:
    first, last = (word.strip(",").removeprefix("frame") for word in text.split() if word.startswith("frame"))
    return SPANS[{(0, 0): 0, (1, 0): 1, (1, 1): 2, (0, 1): 3}[first == "1", last == str(n_frames)]]


def test_the_options_are_all_words_that_there_are() -> None:
    found = {place((x, y, x + 1, y + 1), 30, 30) for x in range(30) for y in range(30)}
    assert set(PLACES) == found
    assert len(ACTIONS) == len(COMPASS) + 1


def test_the_rule_that_looks_at_one_frame_is_right_of_straight_ways_through_the_centre() -> None:
    """In worlds most subjects that start off the centre can only move over it."""
    questions = [q for k, (_, s, samples) in enumerate(worlds(80)) for q in closed(s, f"v{k}", samples)]
    found = {m.ask: {b.name: b.accuracy for b in m.one_frame} for m in measure(questions)}
    assert min(found["direction"].values()) > 0.35
    assert found["presence"]["yes if seen in the middle frame"] > 0.9


def test_majority_is_the_largest_share_and_chance_an_even_draw() -> None:
    found = only(asked(["a"] * 70 + ["b"] * 30))
    assert (found.chance, found.blind[0].accuracy, found.shares) == (0.5, 0.7, (("a", 0.7), ("b", 0.3)))
    assert found.excess == pytest.approx(0.2)


def test_majority_keeps_to_the_options_of_each_question() -> None:
    questions = asked(["a"] * 6 + ["b"] * 4) + [
        replace(q, sample_id=f"t{k}") for k, q in enumerate(asked(["c", "d", "d"], options=("c", "d")))
    ]
    assert majority(questions).sum() == 6 + 2


def test_the_ngram_model_finds_a_word_that_gives_the_answer_away_and_nothing_where_there_is_nothing() -> None:
    rng = random.Random(0)
    answers = [rng.choice("ab") for _ in range(1200)]
    noise = [f"Is it {rng.choice(('red', 'blue'))} or {rng.choice(('big', 'small'))}?" for _ in answers]
    told = [f"{text} {'Really' if answer == 'a' else ''}" for text, answer in zip(noise, answers, strict=True)]
    blind, knowing = only(asked(answers, words=noise)), only(asked(answers, words=told))
    assert knowing.blind[1].accuracy == 1.0
    assert abs(blind.blind[1].accuracy - 0.5) < 0.04
    assert blind.blind[1].low < 0.5 < blind.blind[1].high


def test_a_pair_of_words_is_a_cue_where_neither_word_is() -> None:
    pairs = {"a": ("red big", "blue small"), "b": ("red small", "blue big")}
    answers = ["ab"[k % 2] for k in range(400)]
    found = only(asked(answers, words=[pairs[a][k // 2 % 2] for k, a in enumerate(answers)]))
    assert found.blind[1].accuracy == 1.0


def test_what_is_learned_of_a_video_is_not_tested_on_it() -> None:
    """A word of its own for each video, which says what all its samples answer."""
    rng = random.Random(1)
    right = [rng.choice("ab") for _ in range(60)]
    questions = [
        replace(
            q, video_id=f"v{k % 60}", question=f"Where in film{'xyzw'[k % 4]} word{chr(97 + k % 60 % 26)}q{k % 60}?"
        )
        for k, q in enumerate(asked([right[k % 60] for k in range(600)]))
    ]
    assert only(questions).blind[1].accuracy < 0.75


def test_intervals_know_that_samples_of_one_video_are_alike() -> None:
    right = np.repeat([True, False], 200)
    apart = baseline("x", right, [f"v{k}" for k in range(400)])
    alike = baseline("x", right, [f"v{k // 20}" for k in range(400)])
    assert apart.high - apart.low == pytest.approx(2 * 0.0488, abs=1e-3)  # Wilson: 1.96 sqrt(.25 / 403.84)
    assert alike.high - alike.low > 3 * (apart.high - apart.low)
    sure = baseline("x", np.ones(10, bool), [f"v{k}" for k in range(10)])
    assert (sure.accuracy, sure.high) == (1.0, 1.0)
    assert sure.low == pytest.approx(10 / (10 + 1.96**2))


def test_neither_order_nor_repetition_of_the_draw_matters() -> None:
    questions = asked(["a", "b", "b"] * (MAX_DRAWN // 2))
    mixed = random.Random(2).sample(questions, len(questions))
    assert {q.sample_id for q in drawn(questions)} == {q.sample_id for q in drawn(mixed)}
    assert len(drawn(questions)) == MAX_DRAWN
    some = questions[:300]
    assert measure(some) == measure(random.Random(3).sample(some, 300))


def test_presence_is_no_question_where_the_answer_is_always_yes() -> None:
    present = [replace(q, ask="presence", options=("no", "yes")) for q in asked(["yes"] * 9)]
    absent = replace(present[0], sample_id="t", answer="no")
    assert measure(present) == ()
    assert only([*present, absent]).shares == (("yes", 0.9), ("no", 0.1))


def test_no_question_has_no_figures() -> None:
    assert measure([]) == ()
    assert drawn([]) == []
