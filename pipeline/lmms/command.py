"""Which command evaluates a checkpoint with lmms-eval, and whether an interpreter can run it."""

import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.lmms.local_set import TASK
from stages.models.checkpoint import Checkpoint

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-lmms" / "bin" / "python"  # of `make lmms-eval`
RUN = Path(__file__).with_name("run.py")
VERSION = "0.7.3"
CACHE = "cache"  # of the local task's rows, while it runs
ASK = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
NAMES = {"llava_onevision": "llava_hf", "qwen2_5_vl": "qwen2_5_vl", "qwen3_vl": "qwen3_vl"}  # lmms-eval's models
THROUGH = ("engine", "lmms")
PROMPTS = ("frames", "paper")  # of stages/models/transformers_scorer.py, which would import torch here
OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")  # of this environment: nothing for another interpreter


class NoHarness(ValueError):
    """The interpreter cannot run lmms-eval, or lmms-eval cannot run this; the message has the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is evaluated, and how."""

    model: Checkpoint
    tasks: tuple[str, ...]  # lmms-eval's names
    out: Path  # where lmms-eval writes
    include: Path | None = None  # folder of the local task
    through: str = "engine"  # of the local task; other tasks are read by lmms-eval's own models
    device: str = "cpu"
    dtype: str = "float32"
    prompt: str = "frames"
    frames: int = 32
    max_pixels: int | None = None
    limit: int | None = None
    processes: int = 1


def check(python: Path) -> dict[str, str]:
    """Versions of what the interpreter has; raises NoHarness."""
    remedy = "make lmms-eval builds it an environment (2 GB), --python names another one"
    if not os.access(python, os.X_OK):
        raise NoHarness(f"{python}: no such interpreter; {remedy}")
    done = subprocess.run([python, "-c", ASK], capture_output=True, text=True, env=environment({}), check=False)
    if done.returncode:
        raise NoHarness(f"{python} does not run: {done.stderr.strip().splitlines()[-1:]}; {remedy}")
    found = {name.lower().replace("-", "_"): version for name, version in json.loads(done.stdout).items()}
    if found.get("lmms_eval") != VERSION:
        what = f"lmms-eval {found['lmms_eval']}" if "lmms_eval" in found else "no lmms-eval"
        raise NoHarness(f"{python} has {what}, and {VERSION} is asked for; {remedy}")
    return {name: found.get(name, "") for name in ("lmms_eval", "torch", "transformers")}


def command(python: Path, asked: Asked) -> list[str]:
    """The whole command line; raises NoHarness where lmms-eval has no model for it."""
    model = _model(asked)
    path = asked.model.path
    if any(character in path for character in ",="):
        raise NoHarness(f"{path}: lmms-eval cannot be given a path with , or = in it; link it to another one")
    given = ",".join(f"{key}={value}" for key, value in {"pretrained": path, **_options(asked, model)}.items())
    several = asked.processes > 1
    start = ["-m", "accelerate.commands.launch", "--num_processes", str(asked.processes)] if several else []
    limit = ["--limit", str(asked.limit)] if asked.limit is not None and TASK not in asked.tasks else []
    include = ["--include_path", str(asked.include)] if asked.include else []
    simple = ["--force_simple"] if model in ("llava_hf", "utr") else []  # its chat class reads no video
    return [
        str(python), *start, str(RUN), "--model", model, *simple, "--model_args", given,
        "--tasks", ",".join(asked.tasks), *include, *limit,
        "--batch_size", "1", "--output_path", str(asked.out), "--log_samples",
    ]  # fmt: skip


def settings(asked: Asked) -> dict[str, str]:
    """Variables that the command is run with, beside those that are there."""
    if asked.model.commit or TASK not in asked.tasks:
        return {}
    return {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_DATASETS_CACHE": str(asked.out / CACHE)}


def environment(more: Mapping[str, str]) -> dict[str, str]:
    return {**{k: v for k, v in os.environ.items() if k not in OURS}, **more}


def written(line: Sequence[str], variables: Mapping[str, str]) -> str:
    """As a shell reads it."""
    return " ".join([*(f"{k}={shlex.quote(v)}" for k, v in variables.items()), shlex.join(line)])


def _model(asked: Asked) -> str:
    kind = str(asked.model.config.get("model_type"))
    if kind not in NAMES:
        raise NoHarness(f"{asked.model.path} is a {kind} model; known are {', '.join(NAMES)}")
    if TASK in asked.tasks and asked.through == "engine":
        return "utr"
    if TASK in asked.tasks and kind != "llava_onevision":
        raise NoHarness(f"--through lmms: lmms-eval's {NAMES[kind]} reads video files only; leave it at engine")
    return NAMES[kind]


def _options(asked: Asked, model: str) -> dict[str, object]:
    device = "cuda:0" if asked.device == "cuda" else asked.device
    if model == "utr":
        own = {"device": device, "dtype": asked.dtype, "prompt": asked.prompt}
        return {**own, **({"max_pixels": asked.max_pixels} if asked.max_pixels else {})}
    # One process names its device twice, as "" is no device_map; of several each finds its own.
    placed = {"device": device, "device_map": device} if asked.processes == 1 else {}
    if model == "llava_hf":
        return {**placed, "dtype": asked.dtype, "max_frames_num": asked.frames}
    return {**placed, "max_num_frames": asked.frames, **({"max_pixels": asked.max_pixels} if asked.max_pixels else {})}
