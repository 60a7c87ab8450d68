"""How a row names the expert that it comes from: which one, of which weights, under which licence, run by what."""

NOT_STATED = "licence not stated"


def expert_id(expert: str, name: str, revision: str, *, licence: str, library: str) -> str:
    """ "onnx/ssdlite@ee459382245d (apache-2.0; onnxruntime 1.32.0)"

    `revision` tells the weights, "" where there are none; `licence` is theirs, "" where nobody stated it.
    """
    weights = f"@{revision}" if revision else ""
    return f"{expert}/{name}{weights} ({licence or NOT_STATED}; {library})"
