"""vLLM as an engine that says how likely given tokens are: one request at a time, no cache between requests.

One at a time, because a score must not depend on what shares its batch (and vLLM 0.32 dies when LLaVA-OneVision videos
of different lengths meet in one encoder step). What comes out of the engine is one number a prompt token; the answer's
are sliced off here. The engine is a process of its own that can die or hang: both come out as EngineDied.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.models.vllm_process import VllmProcess, settings


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
        self._process = VllmProcess(
            lambda: _start(folder, max_tokens, vocabulary, options), _settings(options), options.limit_s
        )
        self._refuse_caches()

    def answer(self, request: Request) -> np.ndarray:
        """Log-probabilities, nats, float32, of the request's target; raises EngineDied and EngineUnusable."""
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        asked = SamplingParams(
            max_tokens=1, temperature=0.0, prompt_logprobs=0, flat_logprobs=True, detokenize=False, ignore_eos=True
        )
        self.asked += 1
        with self._process.answering(f"{len(request.token_id)} tokens"):
            (out,) = self._process.llm.generate(request.prompt(), asked, use_tqdm=False)
        return _sliced(request, out)

    def worn(self) -> bool:
        """Whether a fresh engine is due (R15)."""
        options = self._options
        return self.asked >= options.recycle_requests or self._process.rss_bytes >= options.recycle_rss_gb * 1e9

    def close(self) -> None:
        """Ends the engine's processes; a second call does nothing."""
        self._process.close()

    def _refuse_caches(self) -> None:
        config = self._process.llm.llm_engine.vllm_config
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
    # Two helpers of its sampler would be compiled for 20 s.
    own = settings(kv_cache_gb=options.kv_cache_gb, cpu_threads=options.cpu_threads)
    return own | {"TORCHDYNAMO_DISABLE": "1"}
