"""Scores that need a model of somebody's own: aesthetics, not safe for work. A hook by name; no model comes with us."""

from collections.abc import Callable
from importlib import import_module
from math import isfinite
from typing import Protocol, runtime_checkable

import numpy as np


class JudgeError(RuntimeError):
    """A judge is not what its name promises, or gave something that is no score; the message names it."""


@runtime_checkable
class Judge(Protocol):
    """What a factory gives. One judge lives in each worker, so its weights are loaded once."""

    id: str  # of the model, as published
    version: str  # raise it when equal frames begin to get other scores

    def judge(self, frames_THWC: np.ndarray, /) -> float:
        """0..1 for a clip, from its planned frames: uint8 RGB (T, H, W, 3). Equal frames get equal scores."""
        ...


def find_judge(name: str) -> tuple[Callable[[], object], str]:
    """Factory and version of package.module:factory@version; ValueError where the name or the import is wrong.

    The version is in the name, so that it is in the plan's fingerprint: scores of two versions never share a build.
    """
    module, _, rest = name.partition(":")
    factory, _, version = rest.partition("@")
    if not (all(map(str.isidentifier, module.split("."))) and factory.isidentifier() and version):
        raise ValueError(f"judge {name!r}: give package.module:factory@version, as in my_judges.clip:aesthetic@1")
    try:
        return getattr(import_module(module), factory), version
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"judge {name!r} cannot be imported: {error}; install its package, here and on workers"
        ) from error


def load_judge(name: str) -> Judge:
    """The judge of that name; ValueError where it cannot be imported, JudgeError where it is another thing."""
    make, version = find_judge(name)
    judge = make()
    if not isinstance(judge, Judge):
        raise JudgeError(f"judge {name!r} is a {type(judge).__name__}: id, version and judge(frames) are asked for")
    if judge.version != version:
        raise JudgeError(f"judge {name!r} is version {judge.version!r}: name the version that is installed")
    return judge


def judged(name: str, judge: Judge, frames_THWC: np.ndarray) -> float:
    """The judge's score of a clip's frames; JudgeError unless it is a number from 0 to 1."""
    score = judge.judge(frames_THWC)
    if isinstance(score, bool) or not isinstance(score, int | float | np.number) or not isfinite(score):
        raise JudgeError(f"judge {name!r} gave {score!r}: a number from 0 to 1 is asked for")
    if not 0 <= score <= 1:
        raise JudgeError(f"judge {name!r} gave {score:g}: a number from 0 to 1 is asked for")
    return float(score)
