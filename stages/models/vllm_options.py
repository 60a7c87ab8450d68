"""Fields of a chat request as arguments of vLLM's SamplingParams. No vLLM is imported: recipes are read without it."""

from collections.abc import Mapping
from typing import Any

# Those that mean the same in both (vLLM 0.32, vllm/sampling_params.py); max_completion_tokens is OpenAI's newer word.
SAME = (
    "temperature", "top_p", "top_k", "min_p", "seed", "stop", "presence_penalty", "frequency_penalty",
    "repetition_penalty", "max_tokens", "min_tokens",
)  # fmt: skip
RENAMED = {"max_completion_tokens": "max_tokens"}
FORMAT = "response_format"


def check_options(options: Mapping[str, Any]) -> None:
    """Raises ValueError for what the engine in this process does not know."""
    known = (*SAME, *RENAMED, FORMAT)
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f"options: engine vllm knows no {', '.join(unknown)}; known: {', '.join(known)}")
    constraint(options)


def sampling(options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of SamplingParams, without the constraint."""
    return {RENAMED.get(name, name): value for name, value in options.items() if name != FORMAT}


def constraint(options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of StructuredOutputsParams; empty where any text will do."""
    wanted = options.get(FORMAT)
    match wanted:
        case None | {"type": "text"}:
            return {}
        case {"type": "json_object"}:
            return {"json_object": True}
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return {"json": schema}
    raise ValueError(
        f"options: {FORMAT} {wanted!r}: give the type text, json_object, or json_schema with json_schema.schema"
    )
