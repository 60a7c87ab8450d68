"""The child's side of `child.py`: calls on stdin, answers on stdout; it outlives neither its parent nor a hang."""

import faulthandler
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.media.child import ReadError, ReadRefused
from stages.media.wire import receive, send

PARENT_POLL_S = 0.5
GRACE_S = 10.0


def serve(functions: Mapping[str, Callable[..., Any]]) -> None:
    """Answers until stdin ends. Arguments: the parent's pid, memory in bytes, seconds a call may take."""
    parent_pid, memory_bytes, timeout_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; our end is the end of stdin
    threading.Thread(target=_watch_parent, args=(parent_pid,), daemon=True).start()
    _limit_memory(memory_bytes)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    with Path(os.devnull).open("w") as nowhere:
        while True:
            try:
                function, *arguments = receive(requests)
            except EOFError:
                return
            # Runs without the interpreter: ends us even if C code hangs that never gives the interpreter back.
            faulthandler.dump_traceback_later(timeout_s + GRACE_S, exit=True, file=nowhere)
            send(answers, _answer(functions[function], arguments))
            faulthandler.cancel_dump_traceback_later()


def _answer(function: Callable[..., Any], arguments: list[Any]) -> tuple[str, Any]:
    try:
        return "ok", function(*arguments)
    except ReadRefused as error:
        return "refused", str(error)
    except ReadError as error:
        return "error", str(error)
    except MemoryError:
        return "memory", ""


def _watch_parent(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(PARENT_POLL_S)
    os._exit(1)


@contextmanager
def loading_libraries() -> Iterator[None]:
    """What is mapped inside is not taken off the allowance: torch alone maps 0.8 GB, its CUDA build several."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        yield
        return
    left_bytes = soft - _mapped_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    try:
        yield
    finally:
        _limit_memory(left_bytes)


def _limit_memory(memory_bytes: int) -> None:
    """Caps the address space at what is mapped now (libraries, mostly) plus the allowance."""
    limit = _mapped_bytes() + memory_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _mapped_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    return pages * resource.getpagesize()
