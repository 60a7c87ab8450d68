"""vLLM as an engine that says how likely given tokens are: one request at a time, no cache between requests.

One at a time, because a score must not depend on what shares its batch (and vLLM 0.32 dies when LLaVA-OneVision videos
of different lengths meet in one encoder step). What comes out of the engine is one number a prompt token; the answer's
are sliced off here. The engine is a process of its own that can die or hang: both come out as EngineDied.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from stages.models.vllm_watchdog import Watchdog, alive, kill


class EngineDied(RuntimeError):
    """The engine's process ended or gave no answer in time; a fresh engine can be started."""


class EngineUnusable(RuntimeError):
    """An engine that starts but cannot be trusted: it caches, changes prompts, or its values depend on the order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How the engine is run. None of it changes a score beyond the engine's floor."""

    dtype: str = "float32"
    kv_cache_gb: int = 1
    max_tokens: int | None = None  # of a prompt, where the model reads more than the cache holds
    logits_gb: float = 0.5  # the engine makes logits of a whole prompt chunk: bounds the chunk (R14)
    cpu_threads: int = 1  # of a CPU engine, so that sums have one order
    limit_s: float = 300.0  # an answer that takes longer is none: the engine is ended
    recycle_requests: int = 20_000  # a fresh engine after so many; the multimodal path has leaked before
    recycle_rss_gb: float = 64.0  # or when its processes hold so much


@dataclass(frozen=True, slots=True)
class Request:
    """Token ids with every visual token written out; the last `n_target` are scored.

    `video` is the item of the engine's video path for the one run of `video_id`s in it, None where no frame is shown.
    """

    token_id: tuple[int, ...]
    n_target: int
    video_id: int
    video: Any = None

    def prompt(self) -> dict[str, Any]:
        """With one video token, which the engine expands again (`answer` compares what it made of it)."""
        if self.video is None:
            return {"prompt_token_ids": list(self.token_id)}
        at = self.token_id.index(self.video_id)
        after = len(self.token_id) - self.token_id[::-1].index(self.video_id)
        ids = [*self.token_id[: at + 1], *self.token_id[after:]]
        return {"prompt_token_ids": ids, "multi_modal_data": {"video": self.video}}


class Engine:
    """A started engine. `close` ends all of its processes."""

    def __init__(self, folder: str, max_tokens: int, vocabulary: int, options: EngineOptions) -> None:
        self._options = options
        self.asked = 0
        before = set(psutil.Process().children(recursive=True))
        try:
            with _environment(_settings(options)):
                self._llm = _start(folder, max_tokens, vocabulary, options)
        finally:
            born = [p for p in psutil.Process().children(recursive=True) if p not in before]
            self.processes = [p for p in born if "resource_tracker" not in " ".join(p.cmdline())]  # this process's own
            if not hasattr(self, "_llm"):
                kill(self.processes)
        self._watchdog = Watchdog(self.processes, options.limit_s, self._died)
        self._keeper = _keeper(self.processes)
        self._refuse_caches()

    def answer(self, request: Request) -> np.ndarray:
        """Log-probabilities, nats, float32, of the request's target; raises EngineDied and EngineUnusable."""
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]
        from vllm.v1.engine.exceptions import EngineDeadError  # pyright: ignore[reportMissingImports]

        asked = SamplingParams(
            max_tokens=1, temperature=0.0, prompt_logprobs=0, flat_logprobs=True, detokenize=False, ignore_eos=True
        )
        self.asked += 1
        try:
            with self._watchdog.waiting():
                (out,) = self._llm.generate(request.prompt(), asked, use_tqdm=False)
        except EngineDeadError as error:
            self.close()
            raise EngineDied(
                f"the vLLM engine ended while it read {len(request.token_id)} tokens; why stands in its own lines on "
                "stderr, or it took too long"
            ) from error
        return _sliced(request, out)

    def worn(self) -> bool:
        """Whether a fresh engine is due (R15)."""
        rss = sum(p.memory_info().rss for p in self.processes if alive(p))
        return self.asked >= self._options.recycle_requests or rss >= self._options.recycle_rss_gb * 1e9

    def close(self) -> None:
        """Ends the engine's processes; a second call does nothing."""
        self._watchdog.close()
        self._llm.llm_engine.engine_core.shutdown()
        _, left = psutil.wait_procs(self.processes, timeout=10)
        kill(left)
        self._keeper.communicate()

    def _died(self) -> None:
        """Wakes whoever waits for an answer: as vLLM does where the engine has told it of its end."""
        from vllm.v1.engine.exceptions import EngineDeadError  # pyright: ignore[reportMissingImports]

        self._llm.llm_engine.engine_core.outputs_queue.put(EngineDeadError())

    def _refuse_caches(self) -> None:
        config = self._llm.llm_engine.vllm_config
        if config.cache_config.enable_prefix_caching or config.model_config.multimodal_config.mm_processor_cache_gb:
            self.close()
            raise EngineUnusable("the vLLM engine caches prefixes or frames between requests; scores need it off")


def refuse_order(engine: Engine, first: Request, second: Request) -> None:
    """Raises EngineUnusable unless both requests get equal values, bit by bit, in either order (R13)."""
    forward = [engine.answer(r) for r in (first, second)]
    backward = [engine.answer(r) for r in (second, first)][::-1]
    for one, other in zip(forward, backward, strict=True):
        if not np.array_equal(one, other):
            gap = float(np.abs(one - other).max())
            raise EngineUnusable(f"vLLM: a log-probability depends on what was asked before it, by {gap:.2e} nats")


def chunk_tokens(max_tokens: int, vocabulary: int, logits_gb: float) -> int:
    """Tokens that the engine reads at once: logits and their log-softmax, float32, stay within `logits_gb`."""
    return max(256, min(max_tokens, int(logits_gb * 1e9 / (2 * 4 * vocabulary))))


def _start(folder: str, max_tokens: int, vocabulary: int, options: EngineOptions) -> Any:
    from vllm import LLM  # pyright: ignore[reportMissingImports]

    return LLM(
        folder,
        dtype=options.dtype,
        seed=0,
        max_model_len=max_tokens,
        max_num_seqs=1,
        max_num_batched_tokens=chunk_tokens(max_tokens, vocabulary, options.logits_gb),
        enable_prefix_caching=False,
        mm_processor_cache_gb=0,
        limit_mm_per_prompt={"video": 1, "image": 0},
        mm_processor_kwargs={"do_resize": False, "do_sample_frames": False},  # frames come ready
        skip_mm_profiling=True,
        enforce_eager=True,
        logprobs_mode="raw_logprobs",
        disable_log_stats=True,
        use_tqdm_on_load=False,
    )


def _keeper(processes: Sequence[psutil.Process]) -> subprocess.Popen[str]:
    """Ends these when this process is gone, in whatever way; it goes when its input is closed."""
    program = str(Path(__file__).with_name("vllm_keeper.py"))
    keeper = subprocess.Popen([sys.executable, program], stdin=subprocess.PIPE, text=True, start_new_session=True)
    assert keeper.stdin is not None
    keeper.stdin.write(json.dumps([(p.pid, p.create_time()) for p in processes]) + "\n")
    keeper.stdin.flush()
    return keeper


def _sliced(request: Request, out: Any) -> np.ndarray:
    """The target's log-probabilities by token id, where the engine read exactly the ids of the request."""
    if tuple(out.prompt_token_ids) != request.token_id:
        raise EngineUnusable(
            f"vLLM read {len(out.prompt_token_ids)} tokens where {len(request.token_id)} were meant, or others: "
            "the processor of the checkpoint expands a video in another way than the scorer"
        )
    first = len(request.token_id) - request.n_target
    rows = (out.prompt_logprobs[i][request.token_id[i]].logprob for i in range(first, len(request.token_id)))
    values = np.fromiter(rows, np.float32, request.n_target)
    if not np.isfinite(values).all():
        raise FloatingPointError(f"vLLM gave log-probabilities {values}")
    return values


def _settings(options: EngineOptions) -> dict[str, str]:
    """vLLM reads these and nothing else tells it."""
    return {
        "VLLM_CPU_KVCACHE_SPACE": str(options.kv_cache_gb),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(options.cpu_threads),
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_NO_USAGE_STATS": "1",
        "TORCHDYNAMO_DISABLE": "1",  # two helpers of its sampler would be compiled for 20 s
    }


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
