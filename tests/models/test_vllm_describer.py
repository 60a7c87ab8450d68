"""What is promised about an engine in this process, with engines that are known: no vLLM is needed here."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from stages.models.mllm import Answer, MllmUnusable, NoAnswer, Question
from stages.models.vllm_describer import VllmDescriber
from stages.models.vllm_options import check_options, constraint, sampling
from stages.models.vllm_process import EngineDied


class KnownChat:
    """The question is the answer. Ends over a batch that holds `poison`; takes no batch that holds `long`."""

    def __init__(self, poison: str = "poison", lasts: int = 10**9) -> None:
        self.batches: list[list[str]] = []
        self.poison, self.lasts, self.is_closed = poison, lasts, False

    def chat(self, questions: Sequence[Question], /) -> list[Answer]:
        assert not self.is_closed
        texts = [str(question.parts[0]) for question in questions]
        self.batches.append(texts)
        if self.poison in texts:
            self.is_closed = True
            raise EngineDied("the vLLM engine ended")
        if "long" in texts:
            raise ValueError("The prompt (9000 tokens) is longer than the model's 8192")
        return [Answer(text, "stop", "", "known", 7, len(text)) for text in texts]

    def worn(self) -> bool:
        return len(self.batches) >= self.lasts

    def close(self) -> None:
        self.is_closed = True


def questions(*texts: str) -> list[Question]:
    return [Question(text, (text, b"\xff\xd8 no picture")) for text in texts]


def starts(*engines: KnownChat) -> Callable[[], KnownChat]:
    queue = iter(engines)
    return lambda: next(queue)


def texts(found: Sequence[Answer | NoAnswer]) -> list[str | None]:
    return [answer.text if isinstance(answer, Answer) else None for answer in found]


def test_all_questions_go_to_the_engine_at_once_and_each_gets_its_own_answer() -> None:
    engine = KnownChat()
    describer = VllmDescriber(starts(engine))
    found = describer.ask(questions("a", "bb", "ccc"))
    assert found == [Answer(t, "stop", "", "known", 7, len(t)) for t in ("a", "bb", "ccc")]
    assert describer.ask([]) == []
    assert engine.batches == [["a", "bb", "ccc"]]


def test_a_question_that_ends_engines_gets_no_answer_and_the_others_do() -> None:
    first, second, third = KnownChat(), KnownChat(), KnownChat()
    describer = VllmDescriber(starts(first, second, third))
    found = describer.ask(questions("a", "poison", "b"))
    assert texts(found) == ["a", None, "b"]
    with pytest.raises(NoAnswer, match="the vLLM engine ended; it was asked alone, by a fresh engine"):
        raise next(answer for answer in found if isinstance(answer, NoAnswer))
    assert [e.batches for e in (first, second, third)] == [[["a", "poison", "b"]], [["a"], ["poison"]], [["b"]]]
    assert describer.started == 3
    assert texts(describer.ask(questions("c", "d"))) == ["c", "d"]
    assert third.batches[-1] == ["c", "d"]  # in one batch again


def test_an_engine_that_ended_by_itself_costs_no_answer() -> None:
    describer = VllmDescriber(starts(KnownChat(poison="a"), KnownChat(poison="none")))
    assert texts(describer.ask(questions("a"))) == ["a"]
    assert describer.started == 2


def test_a_question_that_the_engine_does_not_take_is_named_and_the_engine_lives() -> None:
    engine = KnownChat()
    describer = VllmDescriber(starts(engine))
    found = describer.ask(questions("a", "long"))
    assert texts(found) == ["a", None]
    assert str(found[1]) == "vLLM does not take this question: The prompt (9000 tokens) is longer than the model's 8192"
    assert (describer.started, engine.is_closed) == (1, False)


def test_a_worn_engine_is_closed_and_replaced_and_close_ends_the_last() -> None:
    old, new = KnownChat(lasts=1), KnownChat()
    describer = VllmDescriber(starts(old, new))
    describer.ask(questions("a"))
    assert not old.is_closed
    describer.ask(questions("b"))
    assert (old.is_closed, new.batches) == (True, [["b"]])
    describer.close()
    assert new.is_closed


@pytest.mark.parametrize("error", [RuntimeError("no memory"), ValueError("no memory"), OSError("no memory")])
def test_an_engine_that_does_not_start_ends_the_run(error: Exception) -> None:
    def fails() -> KnownChat:
        raise error

    with pytest.raises(MllmUnusable, match="mllm: vLLM does not start: no memory"):
        VllmDescriber(fails)
    first = iter([KnownChat()])

    def starts_once() -> KnownChat:
        try:
            return next(first)
        except StopIteration:
            raise error from None

    describer = VllmDescriber(starts_once)
    with pytest.raises(MllmUnusable, match="vLLM does not start"):
        describer.ask(questions("poison"))


def test_fields_of_a_request_are_arguments_of_vllm() -> None:
    options = {"temperature": 0, "max_completion_tokens": 9, "stop": ["."], "response_format": {"type": "json_object"}}
    assert sampling(options) == {"temperature": 0, "max_tokens": 9, "stop": ["."]}
    assert constraint(options) == {"json_object": True}
    schema = {"type": "json_schema", "json_schema": {"name": "told", "schema": {"type": "object"}}}
    assert constraint({"response_format": schema}) == {"json": {"type": "object"}}
    assert constraint({}) == constraint({"response_format": {"type": "text"}}) == {}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"temperature": 0, "logit_bias": {}}, "engine vllm knows no logit_bias; known: temperature, top_p"),
        ({"response_format": {"type": "xml"}}, "give the type text, json_object, or json_schema"),
        ({"response_format": {"type": "json_schema"}}, r"json_schema with json_schema\.schema"),
    ],
)
def test_what_vllm_does_not_know_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_options(options)
