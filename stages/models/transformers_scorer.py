"""A checkpoint as a Scorer through transformers: each unit encoded once, each context read once for all targets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stages.algorithms.prompt import header
from stages.models import shared_prefix
from stages.models.family import Family, Shown, Unit
from stages.models.prefix import Branch, Prefix
from stages.models.protocols import Reading, Target, TooLong

if TYPE_CHECKING:  # the engine reads ready frames where neither Arrow nor OpenCV is
    from schemas.sample import ScorerCard
    from stages.algorithms.tpl import Context

BATCH_TOKENS = 16_384  # tokens of one forward pass
TOWER_TOKENS = 16_384  # visual tokens of one pass through the vision tower
PROMPTS = ("frames", "paper")
# Nats a token: the largest distance to brute force over four small checkpoints, all contexts and targets of the tests
# (the embedded scorer on noise is the worst; 99th percentiles: 1e-5, .10 and .014). `utr doctor` measures any other.
FLOOR = {torch.float32: 5e-5, torch.bfloat16: 0.6, torch.float16: 0.15}


class TransformersScorer:
    """Deterministic, clip by clip, so that no other clip is in the batch."""

    def __init__(self, family: Family, card: Mapping[str, Any] | None, name: str, *, prompt: str = "frames") -> None:
        self.family = family
        self._card = card or {}
        self.name = name
        self._headed = prompt == "frames"
        self.floor = FLOOR[family.model.dtype]
        self.n_frames: int | None = self._card.get("n_frames")
        self.taught: tuple[str, ...] | None = tuple(self._card["taught"]) if "taught" in self._card else None
        self.thresholds = self._thresholds()

    def card(self, frames_THWC: np.ndarray) -> ScorerCard:
        from schemas.sample import ScorerCard

        model = self.family.model
        shown = [header([1, 2], ["0.00 s", "1.00 s"])] if self._headed else []
        prompt = "\n".join([self.family.tokenizer.chat_template, *shown, str(self.family.pixel)])
        return ScorerCard(
            scorer=self.name,
            dtype=str(model.dtype).removeprefix("torch."),
            engine=f"transformers/torch-{torch.__version__}" + ("/cuda" if model.device.type == "cuda" else ""),
            prompt_hash=hashlib.sha256(prompt.encode()).hexdigest()[:12],
            n_frames=self.n_frames,
            scorer_domain=self._domain(frames_THWC),
            skill=json.dumps(self._card.get("skill"), sort_keys=True),
            thresholds=json.dumps(asdict(self.thresholds) if self.thresholds else None, sort_keys=True),
        )

    @torch.inference_mode()
    def watch(self, frames_THWC: np.ndarray, times: Sequence[str]) -> WatchedFrames:
        if len(times) != len(frames_THWC):
            raise ValueError(f"{len(frames_THWC)} frames, {len(times)} times")
        return WatchedFrames(self.family, self.family.pixel.tensor(frames_THWC), tuple(times), self._headed)

    def _thresholds(self) -> Any:
        """None where there is no card. They hold for no prompt and no number format but those that they were measured
        with: what half precision adds is more than what many texts gain."""
        dtype = str(self.family.model.dtype).removeprefix("torch.")
        if "thresholds" not in self._card or not self._headed or dtype != self._card.get("dtype", "float32"):
            return None
        from stages.algorithms.tpl import Thresholds

        return Thresholds.from_card(self._card["thresholds"])

    def _domain(self, frames_THWC: np.ndarray) -> str:
        """Thresholds hold for the number of frames that they were measured with: a minimum falls with it."""
        if "domain" not in self._card:
            return "unknown"
        from stages.algorithms.domain import Domain, look

        like = Domain(**self._card["domain"]).holds(look(self.family.pixel.resize(frames_THWC)))
        return "in" if like and len(frames_THWC) == self.n_frames else "out"


@dataclass(frozen=True, slots=True)
class WatchedFrames:
    """A clip's pixels, the features of units that were asked for, and the times that the prompt gives its frames."""

    family: Family
    pixels_TCHW: torch.Tensor
    times: tuple[str, ...]
    headed: bool
    _features: dict[Unit, torch.Tensor] = field(default_factory=dict)  # (p, F) each

    @torch.inference_mode()
    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        branches = [self.family.branch(t.question, t.answer, history=t.history, headed=self.headed) for t in targets]
        prefixes = self.prefixes(contexts)
        self._check_length(targets, branches, max(map(len, prefixes)))
        self._encode([unit for c in contexts for unit in self.family.units(c.index)])
        read = shared_prefix.read(
            self.family, prefixes, lambda c: self._visual(contexts[c].index), branches, batch_tokens=BATCH_TOKENS
        )
        return [Reading(b.token_id[-b.n_target :], tuple(own[t] for own in read)) for t, b in enumerate(branches)]

    def prefixes(self, contexts: Sequence[Context]) -> list[Prefix]:
        """The prompts of these contexts up to the first question."""
        rows, columns = self.family.grid(self.pixels_TCHW)
        return [self.family.prefix(self.shown(c), rows * columns, columns) for c in contexts]

    def shown(self, context: Context) -> Shown:
        return self.family.shown(context.index, context.names, self.times, headed=self.headed)

    def _encode(self, units: Sequence[Unit]) -> None:
        """Features of the units that have none yet; each goes through the tower once a clip."""
        new = [unit for unit in dict.fromkeys(units) if unit not in self._features]
        rows, columns = self.family.grid(self.pixels_TCHW)
        model = self.family.model
        for batch in _chunks(new, max(1, TOWER_TOKENS // (rows * columns))):
            pixels = self.pixels_TCHW[torch.tensor(batch)].to(model.device, model.dtype)
            self._features.update(zip(batch, self.family.encode_units(pixels), strict=True))

    def _visual(self, index: tuple[int, ...]) -> torch.Tensor:
        units = self.family.units(index)
        if not units:
            model = self.family.model
            return torch.zeros(0, self.family.width, device=model.device, dtype=model.dtype)
        return self.family.visual(torch.stack([self._features[unit] for unit in units]))

    def _check_length(self, targets: Sequence[Target], branches: Sequence[Branch], prefix: int) -> None:
        limit = self.family.limit
        for target, branch in zip(targets, branches, strict=True):
            if prefix + len(branch.token_id) > limit:
                raise TooLong(f"{target.target_id}: {prefix} + {len(branch.token_id)} tokens > {limit}")


def _chunks(units: Sequence[Unit], size: int) -> Iterator[list[Unit]]:
    for i in range(0, len(units), size):
        yield list(units[i : i + size])
