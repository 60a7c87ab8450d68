"""What each stage of a plan asks of a cluster, so that all of it is placed at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one worker of a stage asks of Ray."""

    cpus: float
    gpus: float
    memory_bytes: int


def shares(plan: Plan[Any], workers: dict[str, int], cluster: Mapping[str, float]) -> dict[str, Share]:
    """What each stage's workers ask for, scaled down so that the whole plan is placed at once.

    Actors hold their share from the first block to the last, so together they get at most half of the cluster, and a
    task at most a quarter: two tasks always fit beside all actors. GPUs are not scaled: raises ValueError where the
    plan needs more than there are.
    """
    actors = [(s.resources, workers.get(name, 1)) for name, s in plan.named if s.keeps_state]
    gpus = sum(r.gpus * n for r, n in actors)
    gpus += max((s.resources.gpus for s in plan.stages if not s.keeps_state), default=0)
    if gpus > cluster.get("GPU", 0):
        raise ValueError(f"the plan holds {gpus:g} GPUs, the cluster has {cluster.get('GPU', 0):g}: use fewer workers")
    cpu, memory = cluster["CPU"], cluster["memory"]
    cpu_scale = min(1.0, cpu / 2 / (sum(r.cpus * n for r, n in actors) or 1))
    memory_scale = min(1.0, memory / 2 / (sum(r.memory_gb * 1e9 * n for r, n in actors) or 1))
    found = {}
    for index, (name, stage) in enumerate(plan.named):
        r = stage.resources
        if stage.keeps_state:
            cpus, memory_bytes = r.cpus * cpu_scale, r.memory_gb * 1e9 * memory_scale
        else:
            cpus, memory_bytes = min(r.cpus, cpu / 4), min(r.memory_gb * 1e9, memory / 4)
        # A byte apart, because Ray would fuse stages that ask for the same, and all clips of a video stay in one task.
        found[name] = Share(cpus=int(cpus * 1000) / 1000, gpus=r.gpus, memory_bytes=int(memory_bytes) + index)
    return found


def lasting(nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What a cluster of these nodes has together; of CPUs and memory, what is left when its largest node is lost.

    The actors of a lost node start again on the others: where they fill those, tasks wait for ever. A node with more
    than two thirds of all is counted nevertheless, since what is left could not do its work.
    """
    names = {name for node in nodes for name in node}
    total = {name: sum(node.get(name, 0.0) for node in nodes) for name in names}
    for name in total.keys() & {"CPU", "memory"}:
        left = total[name] - max(node.get(name, 0.0) for node in nodes)
        if 3 * left >= total[name]:
            total[name] = left
    return total
