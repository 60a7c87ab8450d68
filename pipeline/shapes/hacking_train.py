"""One arm's training: the base goes on learning, with what its schedule says. All arms go through this loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from pipeline.shapes.embedded_scorer import NUMBER_WEIGHT
from pipeline.shapes.hacking_films import TaughtFilm
from stages.algorithms.draws import draws
from stages.algorithms.prompt import header
from stages.models.family import PromptRow, Shown
from stages.models.onevision import OneVision
from stages.models.prefix import Branch
from stages.models.shared_prefix import target_logits

ONE_FRAME_SHARE, NO_FRAME_SHARE = 0.3, 0.05  # of replayed films, as in the course: p(text | one frame) stays trained


@dataclass(frozen=True, slots=True)
class Rate:
    """Learning rates at their highest: warm-up over a tenth of the steps, linear decay over the last 40 %."""

    matrix: float
    other: float

    def factor(self, step: int, steps: int) -> float:
        return min((step + 1) / max(1.0, 0.1 * steps), 1.0, (steps - step) / (0.4 * steps))


@dataclass(frozen=True, slots=True)
class Read:
    """One film of a step: which of its frames are shown, and what is learned of it."""

    film: TaughtFilm
    index: tuple[int, ...]
    branches: tuple[Branch, ...]


def train(scorer: OneVision, steps: Sequence[Sequence[Read]], rate: Rate, log: Callable[[int, float], None]) -> None:
    """All steps, in place; `log(step, loss)` is called after each."""
    optimizers = _optimizers(scorer.model, rate)
    schedulers = [torch.optim.lr_scheduler.LambdaLR(o, lambda k: rate.factor(k, len(steps))) for o in optimizers]
    scorer.model.train()
    scorer.model.set_attn_implementation("eager")  # as in the course: torch's fused one is slow backwards
    for number, reads in enumerate(steps):
        loss = _loss(scorer, reads)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(scorer.model.parameters(), 1.0)
        for stepped in (*optimizers, *schedulers):
            stepped.step()
        scorer.model.zero_grad(set_to_none=True)
        log(number, float(loss.detach()))
    scorer.model.set_attn_implementation("sdpa")
    scorer.model.eval()


def shown_of(n_frames: int, seed: int, key: str) -> tuple[int, ...]:
    """Frames of a replayed film that are shown: all, one, or none."""
    rng = draws(seed, key)
    draw = rng.random()
    if draw < ONE_FRAME_SHARE:
        return (int(rng.integers(n_frames)),)
    return () if draw < ONE_FRAME_SHARE + NO_FRAME_SHARE else tuple(range(n_frames))


def _loss(scorer: OneVision, reads: Sequence[Read]) -> torch.Tensor:
    """Mean cross-entropy of the answers' tokens, coordinates weighing less, in bfloat16, as in the course."""
    frames = [r.film.frames_THWC[list(r.index)] for r in reads]
    shown = [Shown(tuple(range(len(r.index))), header([k + 1 for k in r.index], r.film.times)) for r in reads]
    rows, columns = scorer.grid(torch.empty(0))
    with torch.autocast("cpu", torch.bfloat16):
        features = scorer.encode(torch.cat([scorer.pixel.normalise(f) for f in frames]))
        visual = [scorer.visual(own) for own in features.split([len(f) for f in frames])]
        prompts = [PromptRow(scorer.prefix(s, rows * columns), v) for s, v in zip(shown, visual, strict=True)]
        logits, target_id = target_logits(scorer, prompts, [r.branches for r in reads])
    weight = torch.ones(logits.shape[1])
    weight[_numbers(scorer)] = NUMBER_WEIGHT
    return torch.nn.functional.cross_entropy(logits, target_id, weight=weight)


def _numbers(scorer: OneVision) -> torch.Tensor:
    vocabulary = scorer.tokenizer.get_vocab()
    return torch.tensor([vocabulary[str(n)] for n in range(1001)])


def _optimizers(model: torch.nn.Module, rate: Rate) -> list[torch.optim.Optimizer]:
    """Muon for hidden matrices, AdamW for the rest: the course's."""
    named = list(model.named_parameters())
    hidden = {key for key, w in named if w.ndim == 2 and "embed" not in key and "lm_head" not in key}
    return [
        torch.optim.Muon([w for key, w in named if key in hidden], lr=rate.matrix, weight_decay=0.0),
        torch.optim.AdamW(
            [w for key, w in named if key not in hidden], lr=rate.other, weight_decay=0.0, betas=(0.9, 0.98)
        ),
    ]
