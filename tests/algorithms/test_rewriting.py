"""Other words may stand for a question only where they ask for the same, of the same: known changes, each refused."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schemas.sample import Message, Sample
from stages.algorithms import asking
from stages.algorithms.ask_events import ASKED, SINGLE
from stages.algorithms.asking import LETTERS, Unanswerable
from stages.algorithms.compose import compose, messages
from stages.algorithms.describe import COLOURS, COMPASS, OBJECT, PLACES, SHAPES, SIZES, STILL
from stages.algorithms.phrasing import MOST, phrased
from stages.algorithms.question_words import PLAIN
from stages.algorithms.questions import FAMILIES, render
from stages.algorithms.rewriting import follows, kept, parted
from tests.worlds import worlds

# Every word of which the code's own constants make questions, but those between the words.
MEANT = sorted(
    {word for text in (*COMPASS, *PLACES, *COLOURS, *SIZES, *SHAPES, STILL, OBJECT) for word in text.split()}
    | {text.split()[0] for text in (*ASKED.values(), *SINGLE.values())}
    | {"above", "below", "faster", "slower", "first", "last", "before", "after", "passes", "overtakes"}
)
NO = ("not", "never", "no", "without", "except", "unless", "isn't", "doesn't", "hardly", "opposite", "only", "other")


def _composed() -> list[tuple[str, frozenset[str]]]:
    """Different questions of all families, with the names of their scenes."""
    found: dict[str, frozenset[str]] = {}
    for k, (_, scene, _) in enumerate(worlds(16, seed=3)):
        samples = compose(scene, clip_id=f"r{k}", seed=0, caption_share=0.5, families=tuple(FAMILIES), max_twins=2)
        for sample in samples:
            asked = [m.content.removeprefix("<video>\n") for m in sample.messages if m.role == "user"]
            found.update((question, scene.names) for question in asked)
    return list(found.items())


COMPOSED = _composed()
questions = st.sampled_from(COMPOSED)
A, B, C = "small red circle", "large blue square", "small green triangle"
NAMES = frozenset((A, B, C))
WHERE = f"Where is the {A} at frame3, 0.35 s? {asking.BOX_FORMAT}"
WHEN = f"When is the {A} on the left? {asking.SPAN_FORMAT}"
DURING = f"Where is the {A} when the {B} passes the {C} from left to right?"
BESIDE = f"Is the {A} to the left or to the right of the {B} at frame3, 0.35 s?"
DOING = f"What does the {A} do from frame2 to frame6?"
WAY = f"Which way does the {A} move from frame2 to frame6? (A) left (B) right {asking.LETTER_FORMAT}"
NEXT = f"Which of these is the first to happen after the {A} stops? (A) the {B} turns (B) x {asking.LETTER_FORMAT}"
RECORD = f"What is the subject at frame3:[10,20,30,40] doing? What is its whole track? {asking.TRACK_FORMAT}"
BOXED = f"Which subject has this track? Track1: <id1>frame1:[1,2,3,4]</id1>. {asking.NAME_FORMAT}"
ENTER = f"When does the {A} enter? {asking.SPAN_FORMAT}"
COUNT = f"How many of the subjects that move in this video are seen at frame3, 0.35 s? {asking.COUNT_FORMAT}"


def _head(question: str, head: str) -> str:
    return f"{head}{parted(question)[1]}"


def test_the_questions_are_of_all_kinds() -> None:
    tails = {parted(question)[1][:9] for question, _ in COMPOSED}
    assert {" Write tr", " Write bo", " Answer w", " Answer i", " (A) the ", " (A) From", ""} <= tails
    assert len(COMPOSED) > 200


def test_every_wording_of_the_composer_stands_for_every_other() -> None:
    n = 0
    for question, names in COMPOSED:
        said = [question]
        for say in range(1, MOST + 1):
            try:
                said.append(phrased(question, say))
            except Unanswerable:
                continue
        for one in said:
            for other in said:
                assert kept(one, other, names) is None, f"{one} -> {other}"
                n += one != other
    assert n > 500


@pytest.mark.parametrize(
    ("question", "head"),
    [
        (WHERE, f"At frame3, 0.35 s, what is the position of the {A}?"),
        (WHERE, f"In which part of the picture is the {A} found at frame3, 0.35 s?"),
        (WHEN, f"During which frames is the {A} located on the left?"),
        (WHEN, f"Please tell me: what are the times at which the {A} is on the left?"),
        (DURING, f"While the {B} passes the {C} from left to right, where is the {A} located?"),
        (BESIDE, f"At frame3, 0.35 s, is the {A} to the left or to the right of the {B}?"),
        (DOING, f"Watch the video from frame2 to frame6. What is the {A} doing?"),
        (WAY, f"From frame2 to frame6, what is the direction in which the {A} is moving?"),
        (NEXT, f"After the {A} stops, which of the following events is the first?"),
        (RECORD, "At frame3:[10,20,30,40], what does the subject do, and what is its full track?"),
        (ENTER, f"At which moment does the {A} enter the video?"),
        (COUNT, "At frame3, 0.35 s, how many of the subjects that move can be seen in the clip?"),
    ],
)
def test_good_wordings_are_kept(question: str, head: str) -> None:
    assert kept(question, _head(question, head), NAMES) is None


@pytest.mark.parametrize(
    ("question", "head", "why"),
    [
        (WHERE, f"Where is the {A} at frame4, 0.35 s?", r"lost \['frame3'\], added \['frame4'\]"),
        (WHERE, f"Where is the {A} at frame3, 0.36 s?", r"lost \['0.35 s'\], added \['0.36 s'\]"),
        (WHERE, f"Where is the {A} at frame 3, 0.35 s?", r"added \['frame', '3'\]"),
        (WHERE, f"Where is the {A} from frame3, 0.35 s?", r"added \['from'\]"),
        (WHERE, f"Where is the {B} at frame3, 0.35 s?", "lost"),
        (WHERE, "Where is the small circle at frame3, 0.35 s?", "lost"),
        (WHERE, f"Where are the {A}s at frame3, 0.35 s?", "lost"),
        (WHERE, f"When is the {A} at frame3, 0.35 s?", "asks for time, not place"),
        (WHERE, f"Is the {A} there at frame3, 0.35 s?", "asks for yes or no|for yes"),
        (WHERE, f"The {A} is at frame3, 0.35 s.", "is no question"),
        (WHERE, f"Where is the {A}?", "lost"),
        (WHERE, f"Où est le {A} at frame3, 0.35 s?", "asks for|lost|yes or no"),
        (WHERE, f"Where is the {A} at frame3, 0.35 s,\nplease?", "no single line"),
        (WHERE, "", "no single line"),
        (WHERE, f"Where is the {A} at frame3, 0.35 s? (A) left (B) right", "options, or how to answer"),
        (WHERE, f"Where is the {A} at frame3, 0.35 s? Answer with yes.", "options, or how to answer"),
        (WHERE, f"Please tell me, {'please tell me, ' * 4}where is the {A} at frame3, 0.35 s?", "25 words > 20"),
        (WHEN, f"Where is the {A} when it is on the left?", "asks for place, not time"),
        (WHEN, f"When is the {A} at the top?", "lost"),
        (WHEN, f"When does the {A} move left?", "lost"),
        (WHEN, f"When is the {A} not on the left?", r"added \['not'\]"),
        (WHEN, f"When is the {A} out of view on the left?", "asks for absence, time, not time"),
        (WHEN, f"When is the {A} on the left at all frames?", "asks for time, track, not time"),
        (WHEN, f"For how long is the {A} on the left?", "asks for duration, not time"),
        (WHEN, f"When can the {A} that is on the left be seen?", "added"),
        (WHEN, f"When can the {A} on the left be seen?", r"added \['seen'\]"),
        (WHEN, f"When is the {A} on the left\u200b?", "added"),
        (BOXED, "Which track has this subject?", "asks for choice, track, not identity, track"),
        (DURING, f"Where is the {B} when the {A} passes the {C} from left to right?", "in another order"),
        (DURING, f"Where is the {A} when the {C} passes the {B} from left to right?", "in another order"),
        (DURING, f"Where is the {A} when the {B} passes the {C} from right to left?", "in another order"),
        (DURING, f"When the {A} is seen, where is it the {B} passes the {C} from left to right?", "another order"),
        (BESIDE, f"Is the {B} to the left or to the right of the {A} at frame3, 0.35 s?", "in another order"),
        (BESIDE, f"Is the {A} to the left of the {B} at frame3, 0.35 s?", "lost"),
        (BESIDE, f"When is the {A} to the left or to the right of the {B} at frame3, 0.35 s?", "asks for time"),
        (DOING, f"What does the {A} do from frame6 to frame2?", "in another order"),
        (DOING, f"What does the {A} do at frame2 and at frame6?", "lost"),
        (WAY, f"Which way does the {A} move at frame2 and at frame6?", "lost"),
        (NEXT, f"Which of these is the last to happen before the {A} stops?", "lost"),
        (NEXT, f"Which of these is the first to happen before the {A} stops?", "lost"),
        (ENTER, f"When does the {A} leave?", "lost"),
        (ENTER, f"When does the {A} enter and leave?", "added"),
        (RECORD, "What is the subject at frame3:[10,20,40,30] doing? What is its whole track?", "lost"),
        (RECORD, "What is the subject at frame3:[10,20,30,40] doing?", "asks for act, not act, track"),
        (COUNT, "How many of the subjects that move at frame3, 0.35 s are seen in this video?", "in another order"),
        (COUNT, "How many of the subjects are seen at frame3, 0.35 s?", "lost"),
        (COUNT, "How many subjects in red that move in this video are seen at frame3, 0.35 s?", "added"),
    ],
)  # fmt: skip
def test_known_changes_of_meaning_are_refused(question: str, head: str, why: str) -> None:
    refused = kept(question, _head(question, head), NAMES)
    assert refused is not None
    assert re.search(why, refused), refused


@given(questions, st.integers(0, 2**16))
@settings(max_examples=150, deadline=None)
def test_options_and_formats_stay_byte_for_byte(pair: tuple[str, frozenset[str]], at: int) -> None:
    question, names = pair
    head, tail = parted(question)
    assume(tail)
    k = at % len(tail)
    for changed in (tail[:k] + tail[k + 1 :], f"{tail[:k]}#{tail[k:]}", f"{tail} (C) up"):
        assert kept(question, head + changed, names) is not None


@given(questions, st.sampled_from((*MEANT, *NO)), st.integers(0, 2**16), st.booleans())
@settings(max_examples=250, deadline=None)
def test_no_word_with_a_meaning_comes_in(pair: tuple[str, frozenset[str]], word: str, at: int, in_place: bool) -> None:
    question, names = pair
    head, tail = parted(question)
    words = head.split(" ")
    k = at % len(words)
    end = "".join(c for c in words[k] if c in ",?.")
    assume(words[k].strip(",?.").lower() != word)
    changed = [*words[:k], word + end, *words[k + 1 :]] if in_place else [*words[:k], word, *words[k:]]
    assert kept(question, " ".join(changed) + tail, names) is not None, " ".join(changed)


@given(questions, st.integers(0, 2**16))
@settings(max_examples=200, deadline=None)
def test_no_number_changes_and_no_name_frame_or_word_with_a_meaning_goes(
    pair: tuple[str, frozenset[str]], at: int
) -> None:
    question, names = pair
    head, tail = parted(question)
    numbers = list(re.finditer(r"\d+", head))
    if numbers:
        number = numbers[at % len(numbers)]
        changed = f"{head[: number.start()]}{int(number[0]) + 1}{head[number.end() :]}"
        assert kept(question, changed + tail, names) is not None
    found = [name for name in names if name in head] + re.findall(r"frame\d+", head)
    found += [word for word in MEANT if re.search(rf"\b{word}\b", head)]
    assume(found)
    gone = found[at % len(found)]
    assert kept(question, re.sub(rf"\s*\b{re.escape(gone)}\b", "", head, count=1) + tail, names) is not None


@given(questions, st.integers(0, 2**16))
@settings(max_examples=200, deadline=None)
def test_names_and_frames_do_not_change_places(pair: tuple[str, frozenset[str]], at: int) -> None:
    question, names = pair
    head, tail = parted(question)
    for pattern in ("|".join(map(re.escape, sorted(names, key=len, reverse=True))), r"frame\d+"):
        spans = list(re.finditer(pattern, head))
        if len({span[0] for span in spans}) < 2:
            continue
        k = at % (len(spans) - 1)
        a, b = spans[k], spans[k + 1]
        if a[0] == b[0]:
            continue
        changed = f"{head[: a.start()]}{b[0]}{head[a.end() : b.start()]}{a[0]}{head[b.end() :]}"
        assert kept(question, changed + tail, names) is not None, changed


def test_words_that_say_nothing_hold_none_that_the_code_gives_a_meaning() -> None:
    assert PLAIN.isdisjoint({*MEANT, *NO, "then", "second", "one", "two", "all", "each", "both", "or", "until"})


def test_all_formats_and_options_are_parted_from_the_question() -> None:
    formats = {name: text for name, text in vars(asking).items() if name.endswith("_FORMAT")}
    assert len(formats) == 8
    for text in formats.values():
        assert parted(f"What is it? {text}") == ("What is it?", f" {text}")
    for letter in LETTERS:
        assert parted(f"Which? ({letter}) left")[0] == "Which?"


def _conversation() -> tuple[Sample, tuple[Message, ...], frozenset[str]]:
    """A conversation of several turns, and what its program renders."""
    for k, (_, scene, _) in enumerate(worlds(9, seed=4)):
        for sample in compose(scene, clip_id=f"c{k}", seed=0, caption_share=0.5, families=tuple(FAMILIES)):
            if sample.family == "conversation":
                return sample, messages(render(scene, json.loads(sample.program))), scene.names
    raise AssertionError("no conversation")


def test_a_published_conversation_follows_only_with_the_answers_that_are_proved() -> None:
    sample, rendered, names = _conversation()
    own = list(sample.messages)
    own[0] = replace(own[0], content="<video>\nTell what goes on in this video.")
    assert follows(tuple(own), rendered, names) is None
    wrong = {
        "no question is said in other words": sample.messages,
        "messages, or other roles": own[:-1],
        r"message 1 is ": [*own[:1], replace(own[1], content=f"{own[1].content} Yes."), *own[2:]],
        r"message 0 is .*Tell": [replace(own[0], content="Tell what goes on in this video."), *own[1:]],
        r"message 0 is not what is asked: asks for": [replace(own[0], content="<video>\nWhere is it?"), *own[1:]],
        r"message 2 is not what is asked": [*own[:2], replace(own[2], content=f"<video>\n{own[2].content}"), *own[3:]],
    }
    for why, published in wrong.items():
        assert re.search(why, follows(tuple(published), rendered, names) or "none"), why
