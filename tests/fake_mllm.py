"""A chat endpoint with known answers that misbehaves by script: a real HTTP server on this machine."""

import json
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-test-5f1d7c"
MODEL = "fake-vl-2b-0926"
Step = Callable[["Handler", str], None]  # the first text of the question


@dataclass
class Request:
    path: str
    headers: Message
    body: dict[str, Any]

    @property
    def texts(self) -> list[str]:
        return [part["text"] for part in self.body["messages"][0]["content"] if part["type"] == "text"]

    @property
    def images(self) -> list[str]:
        content = self.body["messages"][0]["content"]
        return [part["image_url"]["url"] for part in content if part["type"] == "image_url"]


@dataclass
class FakeMllm:
    """What the server does: the steps of a question one by one, then `otherwise`. A question is known by a word that
    its first text holds."""

    otherwise: Step
    script: dict[str, list[Step]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    busy: int = 0
    most_busy: int = 0
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_step(self, text: str) -> Step:
        word = next((word for word in self.script if word in text), None)
        with self.lock:
            steps = self.script[word] if word else []
            return steps.pop(0) if steps else self.otherwise


class Handler(BaseHTTPRequestHandler):
    """One request: noted, then answered by its step."""

    protocol_version = "HTTP/1.1"
    fake: FakeMllm
    is_busy = False

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = Request(self.path, self.headers, body)
        with self.fake.lock:
            self.fake.requests.append(request)
            self.fake.asked[request.texts[0]] += 1
            self.fake.busy += 1
            self.is_busy = True
            self.fake.most_busy = max(self.fake.most_busy, self.fake.busy)
        try:
            self.fake.next_step(request.texts[0])(self, request.texts[0])
        except (BrokenPipeError, ConnectionResetError):  # the client has gone: that is what some steps are for
            self.close_connection = True
        finally:
            self.leave()

    def send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.leave()  # before the answer is on its way: the client may ask the next question before we are back
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def leave(self) -> None:
        with self.fake.lock:
            self.fake.busy -= self.is_busy
            self.is_busy = False

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on standard error."""


def completion(text: str | None, *, finish: str = "stop", refusal: str | None = None, usage: bool = True) -> bytes:
    """The body of an answer. It costs as many tokens as it has characters, and its question 1000."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    body: dict[str, Any] = {"id": "x", "object": "chat.completion", "model": MODEL}
    body["choices"] = [{"index": 0, "message": message, "finish_reason": finish}]
    if usage:
        body["usage"] = {"prompt_tokens": 1000, "completion_tokens": len(text or ""), "total_tokens": 0}
    return json.dumps(body).encode()


def say(text: str | None, **how: Any) -> Step:
    return lambda handler, _: handler.send(200, completion(text, **how))


def echo(handler: Handler, text: str) -> None:
    """The question is the answer."""
    handler.send(200, completion(text))


def late(seconds: float) -> Step:
    """The question is the answer, after a while."""

    def step(handler: Handler, text: str) -> None:
        time.sleep(seconds)
        echo(handler, text)

    return step


def meet(barrier: threading.Barrier, then: Step) -> Step:
    """Waits until as many others are being answered as the barrier asks for."""

    def step(handler: Handler, text: str) -> None:
        barrier.wait(20)
        then(handler, text)

    return step


def refuse(status: int, said: str = "", **headers: str) -> Step:
    """An error, with what the endpoint says about it."""
    body = json.dumps({"error": {"message": said}}).encode()
    return lambda handler, _: handler.send(status, body, **headers)


def repeat_header(handler: Handler, _: str) -> None:
    """An endpoint that shows the key which it does not like."""
    handler.send(400, f"bad header: {handler.headers['Authorization']}".encode())


def hang(handler: Handler, _: str) -> None:
    """Nothing, until the test is over."""
    handler.fake.over.wait(30)
    handler.close_connection = True


def drip(handler: Handler, _: str) -> None:
    """A byte at a time: no pause is long, the whole never comes."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.fake.over.wait(0.05):
        handler.wfile.write(b" ")
    handler.close_connection = True


def reset(handler: Handler, text: str) -> None:
    """Half of an answer, then a reset connection."""
    body = completion(text)
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def half_json(handler: Handler, text: str) -> None:
    """Half of an answer as if it were whole."""
    body = completion(text)
    handler.send(200, body[: len(body) // 2])


def page(handler: Handler, _: str) -> None:
    """What a proxy shows in place of the endpoint."""
    handler.send(200, b"<html><body>Please log in</body></html>", "text/html")


def flood(handler: Handler, _: str) -> None:
    handler.send(200, b" " * (5 * 2**20))


class QuietServer(ThreadingHTTPServer):
    """Clients that hang up are no news here; any other error of a thread is shown."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


MARK = re.compile(r'"clip": "(\w+)"')
TRACK = re.compile(r"Track(\d+)")


def told(text: str, *, change: Callable[[dict[str, Any]], None] = lambda answer: None) -> str:
    """The right answer to the prompt of a clip, with `change` applied: its caption names the clip's mark."""
    mark = MARK.search(text)
    assert mark is not None
    subjects = [
        {"track": int(k), "name": f"thing {k}", "attributes": ["round", "shiny"], "fits": True}
        for k in TRACK.findall(text)
    ]
    answer = {"clip": mark[1], "caption": f"Clip {mark[1]} goes by.", "subjects": subjects}
    change(answer)
    return json.dumps(answer)


def tell(change: Callable[[dict[str, Any]], None] = lambda answer: None, *, after_s: float = 0.0) -> Step:
    """The right answer to the prompt of a clip, changed and late."""

    def step(handler: Handler, text: str) -> None:
        time.sleep(after_s)
        handler.send(200, completion(told(text, change=change)))

    return step


@contextmanager
def serving(fake: FakeMllm) -> Iterator[FakeMllm]:
    """The fake at its url, for as long as the context lasts."""
    handler = type("ThisHandler", (Handler,), {"fake": fake})
    server = QuietServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield fake
    finally:
        fake.over.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
