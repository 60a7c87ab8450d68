"""Ends the engine's processes when the process that started them is gone: they outlive a killed worker otherwise.

A program of its own: it reads one line, the process ids with their times of creation, and then waits for the end of
its input, which comes when its parent closes the pipe or dies in whatever way.
"""

import json
import sys
from typing import TextIO

import psutil


def main(lines: TextIO) -> None:
    wanted = json.loads(lines.readline() or "[]")
    lines.read()  # until the parent is gone
    for pid, created in wanted:
        if psutil.pid_exists(pid) and psutil.Process(pid).create_time() == created:
            psutil.Process(pid).kill()


if __name__ == "__main__":
    main(sys.stdin)
