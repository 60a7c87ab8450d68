"""Train on Ray: TorchTrainer starts the ranks, and starts them again where one died; the loop knows nothing of Ray.

Checkpoints are our own (pipeline/train/checkpoint.py): Ray is handed none, and ranks that start again go on from the
newest committed one, on whatever machines they are then.
"""

import logging
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pipeline.run_ray  # noqa: F401 - it sets what ray reads when it is imported, hence before it

# isort: split
import ray
from ray.exceptions import RayError
from ray.train import (
    FailureConfig,
    LoggingConfig,
    RunConfig,
    ScalingConfig,
    TrainingFailedError,
    WorkerGroupError,
)
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.exceptions import RayTrainError

from pipeline.train.limits import COLLECTIVE_S

MAX_FAILURES = 3  # of workers, in a run


class RanksLost(RuntimeError):
    """Ranks died, or could not be started, more often than they are started again."""


class TooFewResources(ValueError):
    """The cluster can never run so many ranks at once."""


@dataclass(frozen=True, slots=True)
class Share:
    """What each rank has."""

    cpus: int
    gpus: int

    @classmethod
    def of(cls, workers: int, loaders: int) -> Self:
        """A GPU each where the cluster has any, and then a CPU for each process that reads; raises TooFewResources."""
        held = ray.cluster_resources()
        share = cls(1 + loaders, 1) if held.get("GPU", 0) else cls(1, 0)
        for name, wanted in (("CPU", share.cpus), ("GPU", share.gpus)):
            if workers * wanted > held.get(name, 0):
                raise TooFewResources(
                    f"--workers {workers}: each takes {wanted} {name}, the cluster has {held.get(name, 0):g} in all; "
                    "give fewer, or lower data.workers"
                )
        return share


def train_on_ray(
    rank: Callable[[dict[str, Any]], None], settings: Mapping[str, Any], share: Share, workers: int, scratch: Path
) -> None:
    """Runs `rank(settings)` on each of the workers until all are done. Raises what a rank raised.

    Ray must be up (`local_ray`); `scratch` is a folder that all nodes see, for what Ray Train keeps of itself.
    """
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    trainer = TorchTrainer(
        rank,
        train_loop_config=dict(settings),
        torch_config=TorchConfig(timeout_s=COLLECTIVE_S),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=share.gpus > 0,
            resources_per_worker={"CPU": share.cpus, **({"GPU": share.gpus} if share.gpus else {})},
        ),
        run_config=RunConfig(
            name="train",
            storage_path=str(scratch),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    # In the main thread it would take Ctrl-C for itself, and end the process with code 0.
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ray-train")
    try:
        pool.submit(trainer.fit).result()
    except WorkerGroupError as error:
        cause = next(iter(error.worker_failures.values()), error)
        raise cause if not isinstance(cause, (RayError, RayTrainError)) else RanksLost(_last_line(cause)) from error
    except TrainingFailedError as error:
        raise RanksLost(_last_line(error)) from error
    finally:
        pool.shutdown(wait=False)
        shutil.rmtree(scratch, ignore_errors=True)


def _last_line(error: Exception) -> str:
    """Ray's messages are tracebacks of its own; what happened is their last line."""
    return [line.strip() for line in str(error).splitlines() if line.strip()][-1]
