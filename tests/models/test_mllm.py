"""A chat endpoint that misbehaves: each question gets its own answer or a named error, and the key stays hidden."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from stages.models.chat_endpoint import ChatEndpoint, backoffs_s
from stages.models.mllm import Answer, MllmUnusable, NoAnswer, Question
from tests.fake_mllm import (
    KEY,
    MODEL,
    FakeMllm,
    Step,
    drip,
    echo,
    flood,
    half_json,
    hang,
    late,
    meet,
    page,
    refuse,
    repeat_header,
    reset,
    say,
    serving,
)


@pytest.fixture
def fake() -> Iterator[FakeMllm]:
    with serving(FakeMllm(echo)) as fake:
        yield fake


def endpoint(fake: FakeMllm, **changes: Any) -> ChatEndpoint:
    quick = {"wait_s": 0.01, "tries": 3, "connect_timeout_s": 20.0, "read_timeout_s": 20.0, "timeout_s": 30.0}
    return ChatEndpoint(**{"url": fake.url, "model": "fake-vl", "key": KEY, **quick, **changes})


def questions(*texts: str) -> list[Question]:
    return [Question(text, (text, b"\xff\xd8 no picture")) for text in texts]


def test_an_answer_is_what_the_endpoint_said_and_counted(fake: FakeMllm) -> None:
    (answer,) = endpoint(fake, options={"temperature": 0, "seed": 7}).ask(questions("what is it?"))
    assert answer == Answer("what is it?", "stop", "", MODEL, 1000, len("what is it?"))
    (request,) = fake.requests
    assert request.path == "/v1/chat/completions"
    assert {k: v for k, v in request.body.items() if k != "messages"} == {
        "model": "fake-vl", "temperature": 0, "seed": 7,
    }  # fmt: skip
    assert request.images == ["data:image/jpeg;base64,/9ggbm8gcGljdHVyZQ=="]


def test_what_the_endpoint_does_not_count_is_null(fake: FakeMllm) -> None:
    fake.script["q"] = [say("yes", usage=False)]
    (answer,) = endpoint(fake).ask(questions("q"))
    assert answer == Answer("yes", "stop", "", MODEL, None, None)


def test_how_an_answer_ended_is_told(fake: FakeMllm) -> None:
    fake.script |= {"long": [say("and then", finish="length")], "bad": [say(None, refusal="I will not.")]}
    long, bad = endpoint(fake).ask(questions("long", "bad"))
    assert isinstance(long, Answer)
    assert isinstance(bad, Answer)
    assert (long.text, long.finish_reason) == ("and then", "length")
    assert (bad.text, bad.refusal) == ("", "I will not.")


def test_each_question_gets_its_own_answer_and_never_more_are_asked_than_allowed(fake: FakeMllm) -> None:
    texts = [f"question {k:02d}" for k in range(24)]
    fake.script |= {text: [late(0.06 - 0.0025 * k)] for k, text in enumerate(texts)}  # later ones answer sooner
    together = threading.Barrier(5)
    fake.script |= {text: [meet(together, late(0.1 - 0.02 * k))] for k, text in enumerate(texts[:5])}
    answers = endpoint(fake, concurrency=5).ask(questions(*texts))
    assert [answer.text for answer in answers if isinstance(answer, Answer)] == texts
    assert fake.most_busy == 5


@pytest.mark.parametrize(
    "step",
    [refuse(500), refuse(503), refuse(429), refuse(408), reset, half_json, page, flood],
    ids=["500", "503", "429", "408", "reset", "half", "page", "flood"],
)
def test_what_may_pass_is_tried_again_and_harms_no_other(fake: FakeMllm, step: Step) -> None:
    fake.script["sick"] = [step]
    answers = endpoint(fake).ask(questions("one", "sick", "two"))
    assert [answer.text for answer in answers if isinstance(answer, Answer)] == ["one", "sick", "two"]
    assert fake.asked == {"one": 1, "sick": 2, "two": 1}


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (refuse(500, "out of\nmemory"), r"says 500: .*out of\\nmemory.* at the last of 3 tries"),
        (reset, "broke off: .* at the last of 3 tries"),
        (half_json, "says 200: .* no chat completion, at the last of 3 tries"),
        (page, "says 200: <html><body>Please log in.* no chat completion, at the last of 3 tries"),
    ],
    ids=["500", "reset", "half", "page"],
)
def test_tries_are_bounded_and_the_error_says_what_came(fake: FakeMllm, step: Step, says: str) -> None:
    fake.script["sick"] = [step] * 9
    well, sick = endpoint(fake).ask(questions("well", "sick"))
    assert isinstance(well, Answer)
    assert isinstance(sick, NoAnswer)
    with pytest.raises(NoAnswer, match=says):
        raise sick
    assert fake.asked == {"well": 1, "sick": 3}


@pytest.mark.parametrize(
    ("step", "limit"), [(hang, {"read_timeout_s": 1.0}), (drip, {"timeout_s": 1.0})], ids=["silence", "drops"]
)
def test_neither_silence_nor_a_byte_now_and_then_lasts_for_ever(
    fake: FakeMllm, step: Step, limit: dict[str, float]
) -> None:
    fake.script["sick"] = [step] * 9
    began = time.monotonic()
    (sick,) = endpoint(fake, tries=2, **limit).ask(questions("sick"))
    assert isinstance(sick, NoAnswer)
    assert "gave no whole answer in time" in str(sick)
    assert str(sick).endswith("at the last of 2 tries")
    assert fake.asked["sick"] == 2
    assert 2.0 <= time.monotonic() - began < 15


@pytest.mark.parametrize("status", [400, 403, 413, 422])
def test_what_is_wrong_with_one_question_is_not_tried_again(fake: FakeMllm, status: int) -> None:
    fake.script["sick"] = [refuse(status, "flagged")]
    sick, well = endpoint(fake).ask(questions("sick", "well"))
    assert isinstance(well, Answer)
    assert isinstance(sick, NoAnswer)
    assert f"says {status}: " in str(sick)
    assert "flagged" in str(sick)
    assert fake.asked["sick"] == 1


def test_an_endpoint_that_asks_to_wait_is_obeyed(fake: FakeMllm) -> None:
    fake.script["q"] = [refuse(429, Retry_After="1")]
    began = time.monotonic()
    (answer,) = endpoint(fake).ask(questions("q"))
    assert isinstance(answer, Answer)
    assert time.monotonic() - began >= 1.0


@pytest.mark.parametrize("kind", ["seconds", "date"])
def test_nobody_waits_for_an_hour(fake: FakeMllm, kind: str) -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1))
    fake.script["q"] = [refuse(503, Retry_After="3600" if kind == "seconds" else in_an_hour)]
    (answer,) = endpoint(fake).ask(questions("q"))
    assert isinstance(answer, NoAnswer)
    assert "it asks to wait 3" in str(answer)
    assert fake.asked["q"] == 1


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (refuse(401, "bad key"), "says 401: .*bad key.* set the variable that mllm.key_env names"),
        (refuse(402), "says 402: .* no credit left"),
        (refuse(404, "no such model"), "says 404: .*no such model.* check mllm.url, .* and mllm.model"),
        (refuse(429, "insufficient_quota"), "says 429: .* no credit left"),
    ],
    ids=["401", "402", "404", "no credit"],
)
def test_what_no_question_will_survive_ends_the_run(fake: FakeMllm, step: Step, says: str) -> None:
    fake.otherwise = step
    with pytest.raises(MllmUnusable, match=says):
        endpoint(fake, concurrency=2).ask(questions(*(f"q{k}" for k in range(20))))
    assert len(fake.requests) <= 4  # those under way, and not 20


def test_an_endpoint_that_is_not_there_ends_the_run() -> None:
    with serving(FakeMllm(echo)) as gone:
        pass
    with pytest.raises(MllmUnusable, match=r"cannot be reached: .*, 3 times: start the endpoint, or correct mllm\.url"):
        endpoint(gone).ask(questions("q"))


def test_a_redirect_does_not_carry_the_key_away(fake: FakeMllm) -> None:
    with serving(FakeMllm(echo)) as other:
        fake.otherwise = refuse(307, Location=f"{other.url}/chat/completions")
        with pytest.raises(MllmUnusable, match=r"says 307: .* give the address that it points to"):
            endpoint(fake).ask(questions("q"))
        assert other.requests == []


def test_the_key_is_in_its_header_and_nowhere_else(fake: FakeMllm) -> None:
    fake.script["sick"] = [repeat_header]
    asking = endpoint(fake)
    _, sick = asking.ask(questions("well", "sick"))
    assert [request.headers["Authorization"] for request in fake.requests] == [f"Bearer {KEY}"] * 2
    assert not any(KEY in str(request.body) + request.path for request in fake.requests)
    assert KEY not in f"{sick!r} {asking!r}"
    assert "bad header: Bearer ***" in str(sick)
    endpoint(fake, key="").ask(questions("q"))
    assert "Authorization" not in fake.requests[-1].headers


def test_waits_double_up_to_a_limit_and_are_drawn_by_the_row() -> None:
    waits = backoffs_s("clip-1", 8, 1.0)
    assert waits == backoffs_s("clip-1", 8, 1.0)
    assert waits != backoffs_s("clip-2", 8, 1.0)
    assert all(m / 2 <= s <= m for s, m in zip(waits, [1, 2, 4, 8, 16, 30, 30], strict=True))
    assert backoffs_s("clip-1", 1, 1.0) == []
