"""What readers ahead of the step may cost: a few packs of memory each, and no files."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from pipeline.train.example import Conversation, Example
from pipeline.train.loader import AHEAD, steps
from tests.train import few_files
from tests.train.sets import MAKE, sample, write_set

PACKS = 40


def test_workers_are_a_few_packs_ahead_not_steps(tmp_path: Path) -> None:
    write_set(tmp_path / "set", [sample(f"s{k}", n_frames=0) for k in range(2 * PACKS)])
    plan, data = few_files.planned(tmp_path, PACKS)
    n_read = get_context("fork").Value("i", 0)

    def counted(conversation: Conversation) -> Example:
        with n_read.get_lock():
            n_read.value += 1
        return MAKE.example(conversation)

    workers = min(2, len(os.sched_getaffinity(0)))
    most = PACKS + workers * AHEAD
    reading = steps(plan, data, replace(MAKE, example=counted), rank=0, world=1, workers=workers)
    assert len(next(reading).packs) == PACKS
    end_s = time.monotonic() + 30
    while n_read.value < most and time.monotonic() < end_s:
        time.sleep(0.01)
    time.sleep(0.3)  # in which they would read on
    assert n_read.value == most < 2 * PACKS
    assert [len(step.packs) for step in reading] == [PACKS] * 3


def test_many_packs_need_few_files(tmp_path: Path) -> None:
    """Tensors from workers take a file each: torch loses what comes when there are no more, and waits for ever."""
    write_set(tmp_path / "set", [sample(f"s{k}", n_frames=0) for k in range(few_files.PACKS)])
    started = subprocess.Popen([sys.executable, few_files.__file__, str(tmp_path)], start_new_session=True)
    try:
        assert started.wait(timeout=120) == 0
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
