"""Where a scorer's checkpoint lies and which one it is; no engine is imported for that."""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

EMBEDDED = Path(__file__).parent / "checkpoints" / "shapes"
CARD = "scorer.json"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
WHOLE = 64 * 2**20  # bytes: files up to this size are hashed whole, of larger ones both ends
END = 2**20


class NoScorer(ValueError):
    """There is no scorer of that name, or it cannot be used; the message says what one is, or what to do."""


class NotOnHub(ValueError):
    """Neither the hub nor the local cache has it; the message has the remedy."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that is there: a folder, or a hub id whose config has been read."""

    path: str  # folder or hub id
    commit: str | None  # of a hub id
    config: dict[str, Any]
    card: dict[str, Any] | None  # None: not calibrated

    @property
    def name(self) -> str:
        """What scores call it: the card's id, else the folder's name or the hub id."""
        return str(self.card["id"]) if self.card else self.path if self.commit else Path(self.path).name


@cache
def find(scorer: str) -> Checkpoint:
    """A scorer by folder, by hub id ("org/name" or "org/name@revision"), or the embedded one; raises NoScorer.

    Weights and tokenizer of a hub id are not fetched here, its config is: it tells family and commit.
    """
    folder = EMBEDDED if scorer == "embedded" else Path(scorer)
    if folder.is_dir():
        return _local(scorer, folder)
    if HUB_ID.fullmatch(scorer):
        return _hub(scorer)
    raise NoScorer(
        f"scorer {scorer!r}: no such folder, and no hub id (org/name). The one that comes with the project is "
        'called "embedded".'
    )


@cache
def revision(scorer: str) -> str:
    """Twelve digits: of the commit of a hub id, else of the hash of weights, tokenizer, config and card.

    Of files above 64 MiB size and both ends are hashed: a fine-tune changes them, and a 7B checkpoint takes no minute.
    """
    found = find(scorer)
    return found.commit[:12] if found.commit else folder_hash(found.path)


def folder_hash(folder: str) -> str:
    """Twelve digits of the hash of what a checkpoint's folder holds, as `revision` says."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).iterdir()):
        if path.suffix in (".safetensors", ".bin", ".json", ".jinja", ".txt", ".model"):
            digest.update(f"{path.name}:{path.stat().st_size}\n".encode())
            digest.update(_bytes(path))
    return digest.hexdigest()[:12]


def beside(path: str, name: str, commit: str | None) -> Path | None:
    """A file of a checkpoint, fetched where that is a hub id; None where it has no such file."""
    if commit is None:
        return Path(path, name) if Path(path, name).is_file() else None
    try:
        return Path(hf_hub_download(path, name, revision=commit))
    except EntryNotFoundError:
        return None


def _bytes(path: Path) -> bytes:
    if path.stat().st_size <= WHOLE:
        return path.read_bytes()
    with path.open("rb") as file:
        head = file.read(END)
        file.seek(-END, 2)
        return head + file.read()


def _local(scorer: str, folder: Path) -> Checkpoint:
    wanted = {
        "config.json": "config.json",
        "weights (*.safetensors)": "*.safetensors",
        "preprocessor_config.json": "preprocessor_config.json",
        "tokenizer_config.json": "tokenizer_config.json",
    }
    missing = [what for what, pattern in wanted.items() if not any(folder.glob(pattern))]
    if missing:
        raise NoScorer(
            f"scorer {scorer!r}: {folder} lacks {', '.join(missing)}. A scorer is a Hugging Face checkpoint folder, "
            f'with {CARD} where it is calibrated; the one that comes with the project is called "embedded".'
        )
    config = json.loads((folder / "config.json").read_text())
    return Checkpoint(str(folder), None, config, _card(scorer, beside(str(folder), CARD, None)))


def _card(scorer: str, path: Path | None) -> dict[str, Any] | None:
    """What a card says; raises NoScorer where it is not whole."""
    if path is None:
        return None
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _not_whole(scorer, path, f"is no JSON ({error})") from error
    if missing := [key for key in ("id", "n_frames") if not isinstance(card, dict) or key not in card]:
        raise _not_whole(scorer, path, f"lacks {' and '.join(missing)}")
    return card


def _not_whole(scorer: str, path: Path, why: str) -> NoScorer:
    return NoScorer(
        f"scorer {scorer!r}: its card {path} {why}. Remove it, and calibrate again where verdicts are wanted: "
        f"utr calibrate --scorer {scorer} --out {path}"
    )


def hub_config(repo: str, revision: str) -> Path:
    """The config of a hub id at a commit, tag or branch ("": its main one), in the local cache, in a folder that the
    commit names; raises NotOnHub."""
    try:
        return Path(hf_hub_download(repo, "config.json", revision=revision or None))
    except (HfHubHTTPError, HFValidationError, EntryNotFoundError, OSError) as error:
        raise NotOnHub(
            "no such folder, and its config cannot be had from the hub or the local cache "
            f"({type(error).__name__}: {str(error).splitlines()[0]}). Where there is no network, fetch it elsewhere "
            f"(hf download {repo}) and give the folder's path; a gated one needs `hf auth login`."
        ) from error


def _hub(scorer: str) -> Checkpoint:
    repo, _, wanted = scorer.partition("@")
    try:
        config = hub_config(repo, wanted)
    except NotOnHub as error:
        raise NoScorer(f"scorer {scorer!r}: {error}") from error
    commit = config.parent.name  # the cache keeps a snapshot a commit
    card = _card(scorer, beside(repo, CARD, commit))
    return Checkpoint(repo, commit, json.loads(config.read_text()), card)
