"""Where a scorer's checkpoint lies and which one it is; no engine is imported for that."""

import hashlib
from functools import cache
from pathlib import Path

EMBEDDED = Path(__file__).parent / "checkpoints" / "shapes"
CARD = "scorer.json"
_WEIGHTS = ("model.safetensors", "config.json", "preprocessor_config.json")
_FILES = (*_WEIGHTS, "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", CARD)


class NoScorer(ValueError):
    """There is no scorer of that name; the message says what one is."""


def checkpoint(scorer: str) -> Path:
    """The folder of a scorer by path, or of the embedded one by the name "embedded"; raises NoScorer."""
    folder = EMBEDDED if scorer == "embedded" else Path(scorer)
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise NoScorer(
            f"scorer {scorer!r}: {folder} lacks {', '.join(missing)}. A scorer is a checkpoint folder with measured "
            'thresholds and skill; the one that comes with the project is called "embedded".'
        )
    return folder


@cache
def revision(scorer: str) -> str:
    """Twelve digits of the hash of weights, tokenizer and card: a scorer is its bytes."""
    folder = checkpoint(scorer)
    digest = hashlib.sha256()
    for name in _FILES:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:12]
