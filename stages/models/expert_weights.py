"""Which checkpoint an expert is, where it lies and under which licence; no engine is imported for that."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub.repocard import metadata_load
from yaml import YAMLError

from stages.models.checkpoint import HUB_ID, NotOnHub, beside, folder_hash, hub_config

OTHER = "other"  # how the hub calls a licence that is none of its list; the card then names it in `license_name`
NEEDED = {
    "config.json": "config.json",
    "weights (*.safetensors)": "*.safetensors",
    "preprocessor_config.json": "preprocessor_config.json",
}


class BadExpert(ValueError):
    """The checkpoint cannot be used; the message names the recipe's field and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertWeights:
    """A checkpoint that is there: a folder, or a hub id whose config has been read."""

    path: str  # folder or hub id
    commit: str | None  # of a hub id
    revision: str  # twelve digits: of the commit, or of the hash of a folder's files
    config: dict[str, Any]
    licence: str  # of the weights, as their card or the recipe states it

    @property
    def name(self) -> str:
        """What rows call it: the hub id, or the folder's name."""
        return self.path if self.commit else Path(self.path).resolve().name

    @property
    def hub(self) -> dict[str, Any]:
        """What `from_pretrained` is told beside the path."""
        return {"revision": self.commit} if self.commit else {"local_files_only": True}


@cache
def find_weights(model: str, revision: str, licence: str) -> ExpertWeights:
    """The checkpoint of a folder or a hub id; raises BadExpert.

    Of a hub id config and card are fetched here, weights are not. `licence` is needed where the card states none.
    """
    folder = Path(model)
    if model and folder.is_dir():
        if revision:
            raise BadExpert(f"revision {revision!r} is of a hub id, and model {model!r} is a folder: leave it out")
        missing = [what for what, pattern in NEEDED.items() if not any(folder.glob(pattern))]
        if missing:
            raise BadExpert(f"model: {folder} lacks {', '.join(missing)}; give a Hugging Face checkpoint's folder")
        config, commit, tells = folder / "config.json", None, folder_hash(model)
    elif HUB_ID.fullmatch(model) and "@" not in model:
        config = _fetched_config(model, revision)
        commit = config.parent.name  # the cache keeps a snapshot a commit
        tells = commit[:12]
    else:
        raise BadExpert(
            f"model {model!r}: no such folder, and no hub id (org/name; a commit or tag goes to `revision`)"
        )
    return ExpertWeights(
        path=model,
        commit=commit,
        revision=tells,
        config=json.loads(config.read_text(encoding="utf-8")),
        licence=_agreed(model, card_licence(beside(model, "README.md", commit)), licence),
    )


def card_licence(card: Path | None) -> str:
    """What a model card's front matter states, "" where it states nothing that names a licence."""
    if card is None:
        return ""
    try:
        stated = metadata_load(card) or {}
    except (YAMLError, ValueError):
        return ""
    licence = stated.get("license")
    if licence == OTHER:
        licence = stated.get("license_name")
    return licence.strip() if isinstance(licence, str) else ""


def _agreed(model: str, of_card: str, of_recipe: str) -> str:
    if of_card and of_recipe and of_card.lower() != of_recipe.lower():
        raise BadExpert(
            f"licence {of_recipe!r}: the card of {model} states {of_card!r}; leave `licence` out of the recipe"
        )
    if not of_card and not of_recipe:
        raise BadExpert(
            f"licence: {model} has no model card (README.md) that states one. Write it in the recipe, as in "
            "`licence: apache-2.0`: it goes into every row, and is not guessed"
        )
    return of_card or of_recipe


def _fetched_config(repo: str, revision: str) -> Path:
    try:
        return hub_config(repo, revision)
    except NotOnHub as error:
        raise BadExpert(f"model {repo!r}: {error}") from error
