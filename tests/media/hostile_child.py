"""A child with bad manners, for tests: hangs, crashes, eats memory."""

import ctypes
import os
import time

import numpy as np

from stages.media.child import ReadError
from stages.media.serve import serve


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
        }
    )
