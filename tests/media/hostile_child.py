"""A child with bad manners, for tests: hangs, crashes, eats memory, lies."""

import ctypes
import os
import stat
import threading
import time

import numpy as np

from stages.media.child import ReadError
from stages.media.serve import serve

LEAKED: list[np.ndarray] = []
HANDLES: list[int] = []


def nap(subject: str, seconds: float) -> str:
    time.sleep(seconds)
    return subject


def hang_in_c(subject: str, seconds: int) -> int:
    """Sleeps in C and keeps the interpreter lock, so that no Python thread runs."""
    return ctypes.PyDLL(None).sleep(seconds)


def crash(subject: str) -> None:
    ctypes.string_at(0)


def eat(subject: str, megabytes: int) -> int:
    return int(np.ones(megabytes * 2**20, np.uint8)[-1])


def leak(subject: str, megabytes: int) -> int:
    """Keeps what it takes, call after call; the megabytes that it holds."""
    LEAKED.append(np.ones(megabytes * 2**20, np.uint8))
    return sum(array.nbytes for array in LEAKED) // 2**20


def leak_handles(subject: str, n: int) -> int:
    """Opens files and threads that it never closes; the files that it holds."""
    HANDLES.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(n))
    for _ in range(n):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    return len(HANDLES)


def garble(subject: str) -> None:
    """Writes what is no answer in the place of one."""
    (pipe,) = {fd for fd in range(3, 32) if _is_pipe(fd)}
    os.write(pipe, (1).to_bytes(8, "little") + (7).to_bytes(8, "little") + b"garbage")
    time.sleep(60)


def boast(subject: str) -> None:
    """Announces an answer of more bytes than there is memory."""
    (pipe,) = {fd for fd in range(3, 32) if _is_pipe(fd)}
    os.write(pipe, (1).to_bytes(8, "little") + (2**62).to_bytes(8, "little"))
    time.sleep(60)


def _is_pipe(fd: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False


def refuse(subject: str) -> None:
    raise ReadError(f"{subject}: refused")


def stumble(subject: str) -> None:
    raise KeyError("a bug of ours")


def shout(subject: str) -> str:
    os.write(1, b"noise on stdout")
    return subject


def big(subject: str, megabytes: int) -> np.ndarray:
    return np.arange(megabytes * 2**18, dtype=np.int32)


if __name__ == "__main__":
    serve(
        {
            "nap": nap,
            "hang_in_c": hang_in_c,
            "crash": crash,
            "eat": eat,
            "refuse": refuse,
            "stumble": stumble,
            "shout": shout,
            "big": big,
            "leak": leak,
            "leak_handles": leak_handles,
            "garble": garble,
            "boast": boast,
        }
    )
