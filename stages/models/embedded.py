"""A checkpoint with its card, as a Scorer: thresholds, skill, domain, and batches under a token budget."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from schemas.sample import ScorerCard
from stages.algorithms.domain import Domain, look
from stages.algorithms.prompt import header
from stages.algorithms.tpl import NUMERIC_FLOOR, Context, Thresholds
from stages.models.checkpoint import CARD, checkpoint, revision
from stages.models.onevision import OneVision, Shown
from stages.models.packing import Branch
from stages.models.protocols import Reading, Target, TooLong

ROW_TOKENS = (
    2048  # questions and answers that share one copy of a context: beyond it attention costs more than the copy
)
BATCH_TOKENS = 16_384  # tokens of one forward pass


def load_scorer(scorer: str) -> "CalibratedScorer":
    """A scorer by folder, or the embedded one by the name "embedded"; one CPU thread, so that sums have one order."""
    folder = checkpoint(scorer)
    torch.set_num_threads(1)
    card = json.loads((folder / CARD).read_text())
    return CalibratedScorer(OneVision.load(str(folder)), card, revision(scorer))


class CalibratedScorer:
    """The transformers engine: float32, deterministic, clip by clip, so that no other clip is in the batch."""

    def __init__(self, model: OneVision, card: dict[str, Any], revision: str) -> None:
        self._model = model
        self._card = card
        self._revision = revision
        self.n_frames = int(card["n_frames"])
        self.thresholds = Thresholds(**{k: max(NUMERIC_FLOOR, v) for k, v in card["thresholds"].items()})
        self._domain = Domain(**card["domain"])

    def card(self, frames_THWC: np.ndarray) -> ScorerCard:
        # Thresholds hold for the number of frames that they were measured with: a minimum falls with it.
        inside = len(frames_THWC) == self.n_frames and self._domain.holds(look(self._model.pixel.resize(frames_THWC)))
        prompt = self._model.tokenizer.chat_template + header([1, 2], ["0.00 s", "1.00 s"])
        return ScorerCard(
            scorer=f"{self._card['id']}@{self._revision}",
            dtype=str(self._model.model.dtype).removeprefix("torch."),
            engine=f"transformers/torch-{torch.__version__}",
            prompt_hash=hashlib.sha256(prompt.encode()).hexdigest()[:12],
            n_frames=self.n_frames,
            scorer_domain="in" if inside else "out",
            skill=json.dumps(self._card["skill"], sort_keys=True),
            thresholds=json.dumps(asdict(self.thresholds), sort_keys=True),
        )

    @torch.inference_mode()
    def watch(self, frames_THWC: np.ndarray, times: Sequence[str]) -> "WatchedFrames":
        return WatchedFrames(self._model, self._model.features(frames_THWC), tuple(times))


@dataclass(frozen=True, slots=True)
class WatchedFrames:
    """Visual tokens of a clip's frames, (T, p, D), and the times that the prompt gives them."""

    model: OneVision
    features_TpD: torch.Tensor
    times: tuple[str, ...]

    @torch.inference_mode()
    def read(self, targets: Sequence[Target], contexts: Sequence[Context]) -> list[Reading]:
        shown = [Shown(c.index, header([i + 1 for i in c.index], self.times)) for c in contexts]
        branches = [self.model.branch(t.question, t.answer) for t in targets]
        longest = [len(self.model.prefix(s, self.features_TpD.shape[1])) for s in shown]
        self._check_length(targets, branches, max(longest))
        found: list[list[np.ndarray]] = [[] for _ in targets]
        for group in _rows([len(b.token_id) for b in branches], ROW_TOKENS):
            size = sum(len(branches[i].token_id) for i in group)
            values: dict[int, list[np.ndarray]] = {}
            for batch in _batches([n + size for n in longest], BATCH_TOKENS):
                own = [branches[i] for i in group]
                logprobs = self.model.logprobs(self.features_TpD, [shown[c] for c in batch], own)
                values.update(zip(batch, logprobs, strict=True))
            for at, i in enumerate(group):
                found[i] = [values[c][at] for c in range(len(contexts))]
        return [Reading(b.token_id[-b.n_target :], tuple(v)) for b, v in zip(branches, found, strict=True)]

    def _check_length(self, targets: Sequence[Target], branches: Sequence[Branch], prefix: int) -> None:
        text: Any = self.model.model.config.text_config
        limit = int(text.max_position_embeddings)
        for target, branch in zip(targets, branches, strict=True):
            if prefix + len(branch.token_id) > limit:
                raise TooLong(f"{target.target_id}: {prefix} + {len(branch.token_id)} tokens > {limit}")


def _rows(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Targets, shortest first, in groups of at most `budget` tokens; a longer target is a group of its own."""
    groups: list[list[int]] = []
    total = 0
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if groups and total + lengths[i] <= budget:
            groups[-1].append(i)
            total += lengths[i]
        else:
            groups.append([i])
            total = lengths[i]
    return groups


def _batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Rows, sorted by length, in batches whose padded size stays within `budget` tokens."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batches and (len(batches[-1]) + 1) * lengths[i] <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches
