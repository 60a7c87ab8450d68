"""Real Ray nodes on this machine, each started by `ray start` and ended by process id."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent
STORE_BYTES = 128 * 2**20
TRIES = 3  # a node that is not up within 30 s ends itself: an idle machine takes 7 s, a busy one once took 40


@dataclass(frozen=True)
class Node:
    """`process` is `ray start --block`; gcs and dashboard are addresses, of the head only."""

    process: psutil.Process
    gcs: str = ""
    dashboard: str = ""

    def workers(self) -> list[psutil.Process]:
        """Processes that run a stage of ours: Ray Data names them after its operator."""
        found = []
        for process in self.process.children(recursive=True):
            try:
                title = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if "MapBatches(" in title:
                found.append(process)
        return found

    def raylet(self) -> psutil.Process:
        (found,) = [p for p in self.process.children() if p.name() == "raylet"]
        return found


@contextmanager
def ray_head() -> Iterator[Node]:
    """A head with two CPUs and a dashboard; whatever it and nodes that join it leave behind is an error."""
    folder = Path(tempfile.mkdtemp(prefix="utr-head-"))  # Ray's sockets lie in it: pytest's own paths are too long
    gcs, dashboard, agent, client = free_ports(4)
    arguments = ["--head", f"--port={gcs}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1"]
    arguments += [f"--ray-client-server-port={client}", f"--temp-dir={folder}/ray"]
    try:
        with _node(folder / "head.log", agent, *arguments) as process:
            _wait_for_port(process, dashboard)
            host = _printed(folder / "head.log", "Local node IP")
            yield Node(process, gcs=f"{host}:{gcs}", dashboard=f"http://127.0.0.1:{dashboard}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def ray_worker(head: Node) -> Iterator[Node]:
    """A second node of two CPUs, beside the head."""
    log = Path(tempfile.mkdtemp(prefix="utr-node-")) / "node.log"
    (agent,) = free_ports(1)
    try:
        with _node(log, agent, f"--address={head.gcs}") as process:
            yield Node(process)
    finally:
        shutil.rmtree(log.parent)


def free_ports(n: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def _node(log: Path, agent_port: int, *arguments: str) -> Iterator[psutil.Process]:
    """`ray start --block`, ended with all that it started."""
    mark = f"{log}:{os.getpid()}"
    environment = {
        **{k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
        "PATH": f"{BIN}:{os.environ['PATH']}",  # a job's `python` is that of the node
        "RAY_AUTH_MODE": "disabled",
        "RAY_agent_register_timeout_ms": "120000",
        "OMP_NUM_THREADS": "1",
        "UTR_NODE_MARK": mark,
    }
    command = [
        BIN / "ray", "start", "--block", "--num-cpus=2", f"--object-store-memory={STORE_BYTES}",
        "--disable-usage-stats", f"--dashboard-agent-listen-port={agent_port}", *arguments,
    ]  # fmt: skip
    for attempt in range(TRIES):
        with log.open("wb") as out:
            started = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
        process = psutil.Process(started.pid)
        try:
            if _up(process, log):
                yield process
                return
            assert attempt + 1 < TRIES, log.read_text()
        finally:
            _end(started, mark)


def _end(started: subprocess.Popen, mark: str) -> None:
    """Ends a node; what is alive a minute later is killed and an error."""
    started.terminate()
    try:
        started.wait(timeout=60)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
    left = _left(mark, 60)
    for process in left:
        process.kill()
    assert not left, f"left by `ray start`: {left}"


def _left(mark: str, wait_s: float) -> list[psutil.Process]:
    """Processes of a node that are alive after so many seconds: they inherited its mark."""
    until = time.monotonic() + wait_s
    while (found := [p for p in psutil.process_iter() if _is_marked(p, mark)]) and time.monotonic() < until:
        time.sleep(0.5)
    return found


def _is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get("UTR_NODE_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _up(process: psutil.Process, log: Path) -> bool:
    """Waits until `ray start` says that all is up; False where it ended before."""
    while "This command will now block" not in log.read_text():
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        time.sleep(0.2)
    return True


def _printed(log: Path, name: str) -> str:
    """The value of a line "name: value" of the log, without its colours."""
    line = next(line for line in log.read_text().splitlines() if name in line)
    return re.sub(r"\x1b\[\d+m", "", line).split(":")[-1].strip()


def _wait_for_port(process: psutil.Process, port: int) -> None:
    while True:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.status() != psutil.STATUS_ZOMBIE, f"the head ended before it listened at {port}"
        time.sleep(0.2)
