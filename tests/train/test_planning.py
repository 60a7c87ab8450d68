"""Ranks wait for the plan of the first one before they join, and end where none will come."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from pipeline.train.plan_file import PLAN
from pipeline.train.planning import FAILED, NotPlanned, told_others, wait_for_plan

LATER_S, LIMIT_S = 0.05, 60.0


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """Again and again, so that it also happens after the other side began to wait."""
    ended = Event()

    def go() -> None:
        while not ended.wait(LATER_S):
            act()

    thread = Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def fail(folder: Path) -> None:
    with pytest.raises(ValueError, match="why"), told_others(folder):
        raise ValueError("why")


def plan(folder: Path) -> None:
    with told_others(folder):
        folder.mkdir(exist_ok=True)
        (folder / PLAN).write_bytes(b"a plan")


def test_a_rank_goes_on_when_the_plan_is_there(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(NotPlanned, match="no plan after 0 hours; make it with --plan-only"):
        wait_for_plan(run, limit_s=0.0, poll_s=0.01)
    with meanwhile(lambda: plan(run)):
        wait_for_plan(run, limit_s=LIMIT_S, poll_s=0.01)
    wait_for_plan(run, limit_s=0.0)
    assert not (run / FAILED).exists()


def test_where_the_first_rank_fails_the_others_do_not_wait(tmp_path: Path) -> None:
    with meanwhile(lambda: fail(tmp_path)), pytest.raises(NotPlanned, match="the first rank ended without a plan"):
        wait_for_plan(tmp_path, limit_s=LIMIT_S, poll_s=0.01)


def test_what_failed_before_is_not_what_is_waited_for(tmp_path: Path) -> None:
    """The next start with the same folder: the mark is still there, until there is a plan."""
    fail(tmp_path)
    with pytest.raises(NotPlanned, match="no plan after 0 hours"):
        wait_for_plan(tmp_path, limit_s=0.0, poll_s=0.01)
    plan(tmp_path)
    assert not (tmp_path / FAILED).exists()
