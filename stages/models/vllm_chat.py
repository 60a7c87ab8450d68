"""vLLM as an engine that answers chat questions with pictures: all that it is given at once, batched as they come."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from stages.models.chat_endpoint import content
from stages.models.checkpoint import find
from stages.models.expert_weights import ExpertWeights
from stages.models.mllm import Answer, Question
from stages.models.vllm_options import constraint, sampling
from stages.models.vllm_process import EngineDied, VllmProcess, settings

RECYCLE_RSS_GB = 64.0  # the multimodal path has leaked before (R15)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """How the engine is run."""

    images: int  # of a question, at most
    concurrency: int = 8  # sequences of a step, at most
    limit_s: float = 300.0  # for so many answers
    kv_cache_gb: int = 4  # of a CPU engine
    cpu_threads: int = 1  # likewise
    device: str = "cpu"  # that the installed vLLM must have been built for
    engine: Mapping[str, Any] = field(default_factory=dict)  # arguments of vllm.LLM
    options: Mapping[str, Any] = field(default_factory=dict)  # fields of the request


class ChatEngine:
    """A started engine. `close` ends all of its processes."""

    def __init__(self, weights: ExpertWeights, name: str, options: ChatOptions) -> None:
        self._name, self._options = name, options
        own = settings(kv_cache_gb=options.kv_cache_gb, cpu_threads=options.cpu_threads)
        with _vllms_own():
            self._process = VllmProcess(lambda: _start(weights, options), own, options.limit_s)

    def chat(self, questions: Sequence[Question], /) -> list[Answer]:
        """One answer a question, in order; raises EngineDied, and ValueError where it does not take one of them."""
        conversations = [[{"role": "user", "content": [content(part) for part in q.parts]}] for q in questions]
        rounds = ceil(len(questions) / self._options.concurrency)
        try:
            with _vllms_own(), self._process.answering(f"{len(questions)} questions", rounds):
                found = self._process.llm.chat(conversations, _sampling_params(self._options), use_tqdm=False)
        except ValueError:
            self._refuse_leftovers()
            raise
        self._refuse_leftovers()
        return [self._answer(out) for _, out in zip(questions, found, strict=True)]

    def worn(self) -> bool:
        """Whether a fresh engine is due."""
        return self._process.rss_bytes >= RECYCLE_RSS_GB * 1e9

    def close(self) -> None:
        """Ends the engine's processes; a second call does nothing."""
        self._process.close()

    def _refuse_leftovers(self) -> None:
        """Raises EngineDied, and has closed, where a question is still in the engine: it would be answered next time,
        in the place of another."""
        if self._process.llm.llm_engine.has_unfinished_requests():
            self.close()
            raise EngineDied("the vLLM engine kept a question of a batch that it had given up")

    def _answer(self, out: Any) -> Answer:
        (said,) = out.outputs
        return Answer(
            text=said.text,
            finish_reason=said.finish_reason or "",
            refusal="",
            model=self._name,
            prompt_tokens=len(out.prompt_token_ids),
            completion_tokens=len(said.token_ids),
        )


@contextmanager
def _vllms_own() -> Iterator[None]:
    """vLLM's errors about a question or a setting, which are no ValueErrors, as such."""
    from vllm.exceptions import VLLMError  # pyright: ignore[reportMissingImports]

    try:
        yield
    except VLLMError as error:
        raise ValueError(str(error)) from error


def _sampling_params(options: ChatOptions) -> Any:
    from vllm import SamplingParams  # pyright: ignore[reportMissingImports]
    from vllm.sampling_params import StructuredOutputsParams  # pyright: ignore[reportMissingImports]

    wanted = constraint(options.options)
    return SamplingParams(
        **sampling(options.options), structured_outputs=StructuredOutputsParams(**wanted) if wanted else None
    )


def _start(weights: ExpertWeights, options: ChatOptions) -> Any:
    from vllm import LLM  # pyright: ignore[reportMissingImports]
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]

    if options.device.partition(":")[0] != current_platform.device_type:
        raise ValueError(f"mllm.device is {options.device!r}, and this vLLM runs on {current_platform.device_type}")
    ours = {
        "max_num_seqs": options.concurrency,
        "limit_mm_per_prompt": {"image": options.images, "video": 0},
        "mm_processor_cache_gb": 0,  # no two questions share a picture
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "seed": 0,
    }
    hub = {"revision": weights.commit, "tokenizer_revision": weights.commit} if weights.commit else {}
    return LLM(_servable(weights), **{**ours, **hub, **options.engine})


def _servable(weights: ExpertWeights) -> str:
    """What vLLM opens: a OneVision that transformers 5 wrote is renamed into a folder of its own."""
    if weights.commit or weights.config.get("model_type") != "llava_onevision":
        return weights.path
    from stages.models.vllm_load import blueprint, prepared

    found = find(weights.path)
    return prepared(found, blueprint(found, dtype="float32", max_pixels=None))
