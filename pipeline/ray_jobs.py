"""Send a job to a Ray cluster, follow it, and learn how it ended."""

import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

import pipeline.run_ray  # noqa: F401 - it sets what ray reads when it is imported, hence before it

# isort: split
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

_NO_AGENT_S = 60.0  # a cluster that has just started takes no jobs for some seconds
_CHATTER = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)


class NoCluster(RuntimeError):
    """No job server answers at the address, or it answers no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a submitted job ended; `exit_code` is None where its driver never ran or was stopped."""

    stopped: bool
    exit_code: int | None
    message: str


class JobServer:
    """Takes jobs for a Ray cluster, at the address of its dashboard: `http://HEAD:8265`."""

    def __init__(self, address: str) -> None:
        """Raises NoCluster where no job server answers."""
        for name in _CHATTER:
            logging.getLogger(name).setLevel(logging.WARNING)
        with _answering(address):
            self._client = JobSubmissionClient(address)
        self._address = address

    def submit(self, working_dir: Path, command: str) -> str:
        """Uploads the folder and starts the command in it; the job's id."""
        until = time.monotonic() + _NO_AGENT_S
        while True:
            try:
                return self._client.submit_job(entrypoint=command, runtime_env={"working_dir": str(working_dir)})
            except RuntimeError as error:
                if "No available agent" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(1)

    async def follow(self, job_id: str) -> AsyncIterator[str]:
        """What the job prints, as it comes, until it ends; raises NoCluster where the stream breaks off."""
        with _answering(self._address):
            async for text in self._client.tail_job_logs(job_id):
                yield text

    def ended(self, job_id: str) -> Ended | None:
        """How the job ended, None while it goes on; raises NoCluster."""
        with _answering(self._address):
            job = self._client.get_job_info(job_id)
        if not job.status.is_terminal():
            return None
        stopped = job.status == JobStatus.STOPPED
        return Ended(stopped=stopped, exit_code=job.driver_exit_code, message=job.message or "")


@contextmanager
def _answering(address: str) -> Iterator[None]:
    """Errors of the connection, and of a server that is not Ray's, under one name."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError, aiohttp.ClientError, AuthenticationError) as error:
        raise NoCluster(f"no Ray job server answers at {address}: {error or type(error).__name__}") from error
