"""Any OpenAI-compatible chat endpoint: OpenAI itself, vLLM's `vllm serve`, SGLang, llama.cpp, a proxy before them.

aiohttp: Ray's dashboard already brings it, and it has what requests lacks: a time limit for the whole exchange, and
many requests at once without threads. The openai package would be a second home of retries, whose jitter is global.
"""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from pydantic import BaseModel, Field, ValidationError

from stages.algorithms.draws import draws
from stages.models.mllm import Answer, MllmUnusable, NoAnswer, Question

REMEDY = {
    401: "set the variable that mllm.key_env names to a valid key",
    402: "the account has no credit left",
    404: "check mllm.url, which ends before /chat/completions, and mllm.model",
    405: "check mllm.url: this address takes no chat completions",
}
AGAIN = {408, 409, 425, 429}  # and everything from 500 on
NO_CREDIT = "insufficient_quota"  # OpenAI says it with a 429, which no wait mends
MAX_WAIT_S = 120.0  # an endpoint that asks for a longer pause has no answer for us
MAX_BACKOFF_S = 30.0
MAX_BODY_BYTES = 4 * 2**20
EXCERPT = 300  # characters of a body that an error shows


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    model: str | None = None
    usage: _Usage | None = None


@dataclass(frozen=True, slots=True)
class _Again:
    """Why another try may help, and how long the endpoint asks to wait."""

    why: str
    after_s: float = 0.0
    unreachable: bool = False


@dataclass(frozen=True, kw_only=True)
class ChatEndpoint:
    """An Mllm behind `url`/chat/completions; `options` are fields of the request beside model and messages."""

    url: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    key: str = field(default="", repr=False)
    concurrency: int = 8  # requests at a time
    tries: int = 5  # of a question
    wait_s: float = 1.0  # after the first try; doubles with each
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 120.0  # without a byte
    timeout_s: float = 300.0  # of a whole try

    def ask(self, questions: Sequence[Question], /) -> list[Answer | NoAnswer]:
        """One result a question, in order; raises MllmUnusable where no question will ever be answered."""
        return asyncio.run(self._ask(questions))

    def close(self) -> None:
        """Nothing is held between two calls."""

    async def _ask(self, questions: Sequence[Question]) -> list[Answer | NoAnswer]:
        timeout = aiohttp.ClientTimeout(
            total=self.timeout_s, sock_connect=self.connect_timeout_s, sock_read=self.read_timeout_s
        )
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        slots = asyncio.Semaphore(self.concurrency)
        connector = aiohttp.TCPConnector(limit=0)  # the slots are the limit; its own would be 100
        async with aiohttp.ClientSession(timeout=timeout, headers=headers, connector=connector) as session:
            return await asyncio.gather(*(self._answer(session, slots, question) for question in questions))

    async def _answer(
        self, session: aiohttp.ClientSession, slots: asyncio.Semaphore, question: Question
    ) -> Answer | NoAnswer:
        """A slot is held while waiting, too: an endpoint that is asked to slow down must see fewer requests."""
        async with slots:
            for backoff_s in (*backoffs_s(question.key, self.tries, self.wait_s), None):
                got = await self._try(session, question)
                if not isinstance(got, _Again):
                    return got
                if got.after_s > MAX_WAIT_S:
                    return NoAnswer(f"{got.why}; it asks to wait {got.after_s:.0f} s, more than {MAX_WAIT_S:.0f}")
                if backoff_s is not None:
                    await asyncio.sleep(max(got.after_s, backoff_s))
        if got.unreachable:
            raise MllmUnusable(f"{got.why}, {self.tries} times: start the endpoint, or correct mllm.url")
        return NoAnswer(f"{got.why}, at the last of {self.tries} tries")

    async def _try(self, session: aiohttp.ClientSession, question: Question) -> Answer | NoAnswer | _Again:
        address = f"{self.url.rstrip('/')}/chat/completions"
        try:
            # A redirect would carry the key to an address that nobody has named.
            async with session.post(address, json=self._request(question), allow_redirects=False) as response:
                body = await _body(response)
        except aiohttp.ClientConnectorError as error:
            return _Again(f"{self.url} cannot be reached: {self._hidden(str(error))}", unreachable=True)
        except TimeoutError:  # of the whole try, of connecting, or between two bytes
            return _Again(f"{self.url} gave no whole answer in time (timeout_s={self.timeout_s:g})")
        except aiohttp.ClientError as error:
            return _Again(f"{self.url} broke off: {type(error).__name__}: {self._hidden(str(error))}")
        return self._judged(response.status, response.headers.get("Retry-After", ""), self._hidden(body))

    def _request(self, question: Question) -> dict[str, Any]:
        return {
            **self.options,
            "model": self.model,
            "messages": [{"role": "user", "content": [content(part) for part in question.parts]}],
        }

    def _judged(self, status: int, retry_after: str, body: str) -> Answer | NoAnswer | _Again:
        said = f"{self.url} says {status}: {' '.join(body.split())[:EXCERPT] or 'nothing'}"
        if status == 200:
            return _answer_in(body, self.model) or _Again(f"{said}: no chat completion")
        if status in REMEDY or 300 <= status < 400:
            raise MllmUnusable(f"{said}. {REMEDY.get(status, 'give the address that it points to as mllm.url')}")
        if status == 429 and NO_CREDIT in body:
            raise MllmUnusable(f"{said}. {REMEDY[402]}")
        if status in AGAIN or status >= 500:
            return _Again(said, _seconds(retry_after))
        return NoAnswer(said)

    def _hidden(self, text: str) -> str:
        """What others say, without our key: some endpoints repeat the header that they do not like."""
        return text.replace(self.key, "***") if self.key else text


def backoffs_s(key: str, tries: int, wait_s: float) -> list[float]:
    """Seconds to wait between `tries` tries: doubling, up to a limit, and spread by the row's key, so that rows that
    failed together do not come back together."""
    most_s = [min(MAX_BACKOFF_S, wait_s * 2**k) for k in range(tries - 1)]
    return [
        float(s * share) for s, share in zip(most_s, draws(0, f"{key}/waits").uniform(0.5, 1.0, tries - 1), strict=True)
    ]


async def _body(response: aiohttp.ClientResponse) -> str:
    body = b""
    async for chunk in response.content.iter_chunked(65536):
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise aiohttp.ClientPayloadError(f"more than {MAX_BODY_BYTES} bytes")
    return body.decode(errors="replace")


def content(part: str | bytes) -> dict[str, Any]:
    """A part of a question as chat requests hold it."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(part).decode()}"}}


def _answer_in(body: str, model: str) -> Answer | None:
    """The first choice of a completion; None where the body is none, or not the whole of one."""
    try:
        found = _Completion.model_validate_json(body)
    except ValidationError:
        return None
    choice = found.choices[0]
    return Answer(
        text=choice.message.content or "",
        finish_reason=choice.finish_reason or "",
        refusal=choice.message.refusal or "",
        model=found.model or model,
        prompt_tokens=found.usage.prompt_tokens if found.usage else None,
        completion_tokens=found.usage.completion_tokens if found.usage else None,
    )


def _seconds(retry_after: str) -> float:
    """Seconds or a date (RFC 9110, 10.2.3); 0 where the header is neither."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
