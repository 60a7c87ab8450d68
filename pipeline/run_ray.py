"""Run a plan on Ray Data. With ray_jobs.py the only file that imports ray."""

import hashlib
import logging
import os
import uuid
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Read by ray when it is imported, hence before it. A cluster that is there brings its own authentication.
if not os.environ.keys() & {"RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"}:
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Ray 2.60 logs an error line for any class with constructor arguments; what really fails is raised as well.
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

import psutil
import pyarrow as pa
import ray
import ray.data
from ray.data._internal.execution.backpressure_policy import (
    ENABLED_BACKPRESSURE_POLICIES,
    ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY,
)
from ray.data._internal.execution.backpressure_policy.backpressure_policy import BackpressurePolicy
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_put
from ray.util.annotations import RayDeprecationWarning

from pipeline.plan import Plan
from pipeline.quarantine import CarefulWorker, WorkerDied
from pipeline.scratch import scratch_folder
from pipeline.shares import Share, lasting, shares
from stages.base import Stage

ROOT = Path(__file__).resolve().parents[1]
_AHEAD = "utr.blocks_ahead"
_RETRIES = 100  # of a task whose process died: rows that kill it are ended long before (pipeline/quarantine.py)
_MAX_BLOCKS = 2000  # a block of the source costs the driver about a millisecond
_OBJECT_STORE_BYTES = 256 * 2**20  # rows are addresses and small facts: a local run holds megabytes of them
_LOST = (RayActorError, WorkerCrashedError, OutOfMemoryError, NodeDiedError, ObjectLostError)


class RunAhead(BackpressurePolicy):
    """A stage waits while the next one has a queue: Ray counts bytes, and our rows have next to none, so decoding
    would run through all videos and drop frames from the bounded store before anybody looked at them."""

    def can_add_input(self, op: Any) -> bool:
        """Whether no consumer of this operator has more blocks waiting than the plan allows."""
        limit = self._data_context.get_config(_AHEAD)
        return all(self._topology[down].total_enqueued_input_blocks() < limit for down in op.output_dependencies)


def run_ray(plan: Plan[Any], *, workers: dict[str, int] | None = None) -> Generator[pa.Table, None, None]:
    """Blocks of final rows and outcomes as they come, in no order; `workers` sizes the pools of stages with state.

    Ray must be up (`local_ray`). Rows that kill the process of their worker come out as failures. Raises what
    `process` raised, and WorkerDied where a worker could not open its stage. Closing the iterator stops the run.
    """
    workers = workers or {}
    unknown = sorted(set(workers) - {name for name, stage in plan.named if stage.keeps_state})
    if unknown:
        raise ValueError(f"workers for {', '.join(unknown)}: no stage of that name keeps state in this plan")
    if plan.source.num_rows == 0:
        return
    executor, notes = None, _Notes()
    try:
        # The public iterator hides its executor, which then ends only when the garbage collector comes by.
        bundles, _, executor = _dataset(plan, workers, notes)._execute_to_iterator(capture_executor=False)
        for bundle in bundles:
            for entry in bundle.blocks:
                yield ray.get(entry.ref)
    except (RayTaskError, *_LOST) as error:
        cause = error.cause if isinstance(error, RayTaskError) else error  # what was raised, out of Ray's wrapping
        if isinstance(cause, _LOST):
            raise WorkerDied(f"a worker process ended: {_last_line(cause)}") from error
        raise cause from error
    finally:
        if executor is not None:
            executor.shutdown(force=True)
        notes.clear()


class _Notes:
    """Notes of one run in Ray's control store: beside the cluster's own books, in memory, away from all workers."""

    def __init__(self) -> None:
        self._run = f"utr-{uuid.uuid4().hex}/"

    @property
    def worker(self) -> str:
        return ray.get_runtime_context().get_actor_id() or "a task"

    def begin(self, what: str) -> int:
        before = int(_internal_kv_get(self._key(what)) or 0)
        _internal_kv_put(self._key(what), str(before + 1))
        return before

    def end(self, what: str) -> None:
        _internal_kv_del(self._key(what))

    def clear(self) -> None:
        """Leaves nothing in the store."""
        _internal_kv_del(self._run, del_by_prefix=True)

    def _key(self, what: str) -> str:
        return self._run + hashlib.sha256(what.encode()).hexdigest()


def _dataset(plan: Plan[Any], workers: dict[str, int], notes: _Notes) -> ray.data.Dataset:
    size = -(-plan.source.num_rows // _MAX_BLOCKS)
    blocks = [plan.source.slice(start, size) for start in range(0, plan.source.num_rows, size)]
    dataset: ray.data.Dataset = ray.data.from_arrow(blocks)
    context = dataset.context
    context.target_max_block_size = 1  # a row is a block: clips of one video go to different workers, and stream
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = 0
    context.raise_original_map_exception = True
    context.issue_detectors_config.detectors = []  # advice on memory, printed into the user's progress
    context.set_config(ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, [*ENABLED_BACKPRESSURE_POLICIES, RunAhead])
    most = max((s.resources.batch_rows for s in plan.stages), default=1)
    context.set_config(_AHEAD, 2 * (most + max(workers.values(), default=1)) + 2)
    cluster = lasting([node["Resources"] for node in ray.nodes() if node["Alive"]])
    found = shares(plan, workers, cluster)
    for name, stage in plan.named:
        dataset = _then(dataset, name, stage, found[name], workers.get(name, 1), notes)
    return dataset


def _then(
    dataset: ray.data.Dataset, name: str, stage: Stage[Any, Any, Any], share: Share, n: int, notes: _Notes
) -> ray.data.Dataset:
    named = type(name, (CarefulWorker,), {})  # the operator's name in Ray's logs
    rows = stage.resources.batch_rows
    common: dict[str, Any] = {
        "batch_size": rows if rows > 1 else None,
        "batch_format": "pyarrow",
        "zero_copy_batch": True,
        "num_cpus": share.cpus,
        "num_gpus": share.gpus or None,
        "memory": share.memory_bytes,
    }
    with warnings.catch_warnings():
        # Ray Data's default is to try for ever, and until 2.64 these arguments are the only way to say otherwise.
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated", RayDeprecationWarning)
        if not stage.keeps_state:
            return dataset.map_batches(named(stage, name, notes), max_retries=_RETRIES, **common)
        pool = ray.data.ActorPoolStrategy(size=n)
        return dataset.map_batches(
            named, fn_constructor_args=(stage, name, notes), compute=pool, max_task_retries=_RETRIES, **common
        )


def _last_line(error: Exception) -> str:
    """Ray's messages are tracebacks of its own; the worker's error is their last line."""
    return [line.strip() for line in str(error).splitlines() if line.strip()][-1]


@contextmanager
def local_ray(num_cpus: int | None = None) -> Iterator[None]:
    """Ray for the length of a run: an own local one, ended with all its processes, or the one that is there.

    It is there where ray is initialised, RAY_ADDRESS is set, or this is the driver of a `ray job submit`.
    """
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it logs, it raises
    if ray.is_initialized():
        yield
    elif "RAY_ADDRESS" in os.environ or "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        # A submitted job has its working directory on the workers; a bare driver sends them its packages.
        modules = [str(ROOT / name) for name in ("schemas", "stages", "pipeline", "jobs")]
        in_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
        ray.init(
            runtime_env=None if in_job else {"py_modules": modules}, log_to_driver=False, logging_level=logging.ERROR
        )
        try:
            yield
        finally:
            ray.shutdown()
    else:
        with _own_ray(num_cpus):
            yield


@contextmanager
def _own_ray(num_cpus: int | None) -> Iterator[None]:
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), path]))  # the workers inherit it
    before = set(psutil.Process().children())
    with scratch_folder("utr-ray-") as folder:
        try:
            with _stderr_in(folder / "start.log"):  # one line about the log level, from the C++ side
                ray.init(
                    address="local",
                    num_cpus=num_cpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _temp_dir=str(folder),
                )
            yield
        finally:
            ours = [p for p in psutil.Process().children(recursive=True) if p not in before]
            ray.shutdown()
            _, left = psutil.wait_procs(ours, timeout=10)
            for process in left:
                process.kill()
            if path is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = path


@contextmanager
def _stderr_in(path: Path) -> Iterator[None]:
    saved = os.dup(2)
    with path.open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
