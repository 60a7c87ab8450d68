"""Run a plan in this process: for tests, for debugging, for one video on a laptop."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipeline.plan import Plan
from pipeline.worker import Worker


def run_local(plan: Plan[Any]) -> Iterator[pa.Table]:
    """Blocks of final rows and outcomes, one for each source, as soon as it is through."""
    workers = [Worker(stage, name) for name, stage in plan.named]
    try:
        for index in range(plan.source.num_rows):
            block = plan.source.slice(index, 1)
            for worker in workers:
                block = worker(block)
            yield block
    finally:
        for worker in workers:
            worker.close()
