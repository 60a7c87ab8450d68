"""vLLM's processes under supervision: they can die, hang, or outlive who started them, and the library tells nobody."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from stages.models.vllm_watchdog import Watchdog, alive, kill


class EngineDied(RuntimeError):
    """The engine's process ended or gave no answer in time; a fresh engine can be started."""


class VllmProcess:
    """A started `vllm.LLM` and its processes: they end with `close`, with this process, and where an answer is late."""

    def __init__(self, start: Callable[[], Any], settings: Mapping[str, str], limit_s: float) -> None:
        before = set(psutil.Process().children(recursive=True))
        try:
            with _environment(settings):
                self.llm = start()
        finally:
            born = [p for p in psutil.Process().children(recursive=True) if p not in before]
            self.processes = [p for p in born if "resource_tracker" not in " ".join(p.cmdline())]  # this process's own
            if not hasattr(self, "llm"):
                kill(self.processes)
        self._watchdog = Watchdog(self.processes, limit_s, self._died)
        self._keeper = _keeper(self.processes)

    @contextmanager
    def answering(self, what: str, times: int = 1) -> Iterator[None]:
        """The time in which answers are due, `times` the limit; raises EngineDied, and has closed, where none come."""
        from vllm.v1.engine.exceptions import EngineDeadError  # pyright: ignore[reportMissingImports]

        try:
            with self._watchdog.waiting(times):
                yield
        except EngineDeadError as error:
            self.close()
            raise EngineDied(
                f"the vLLM engine ended while it read {what}; why stands in its own lines on stderr, or it took too "
                "long"
            ) from error

    @property
    def rss_bytes(self) -> int:
        """Of all of its processes."""
        return sum(p.memory_info().rss for p in self.processes if alive(p))

    def close(self) -> None:
        """Ends the engine's processes; a second call does nothing."""
        self._watchdog.close()
        self.llm.llm_engine.engine_core.shutdown()
        _, left = psutil.wait_procs(self.processes, timeout=10)
        kill(left)
        self._keeper.communicate()

    def _died(self) -> None:
        """Wakes whoever waits for an answer: as vLLM does where the engine has told it of its end."""
        from vllm.v1.engine.exceptions import EngineDeadError  # pyright: ignore[reportMissingImports]

        self.llm.llm_engine.engine_core.outputs_queue.put(EngineDeadError())


def settings(*, kv_cache_gb: int, cpu_threads: int) -> dict[str, str]:
    """vLLM reads these from the environment, and nothing else tells it."""
    return {
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gb),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(cpu_threads),
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_NO_USAGE_STATS": "1",
    }


def _keeper(processes: Sequence[psutil.Process]) -> subprocess.Popen[str]:
    """Ends these when this process is gone, in whatever way; it goes when its input is closed."""
    program = str(Path(__file__).with_name("vllm_keeper.py"))
    keeper = subprocess.Popen([sys.executable, program], stdin=subprocess.PIPE, text=True, start_new_session=True)
    assert keeper.stdin is not None
    keeper.stdin.write(json.dumps([(p.pid, p.create_time()) for p in processes]) + "\n")
    keeper.stdin.flush()
    return keeper


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    saved = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
