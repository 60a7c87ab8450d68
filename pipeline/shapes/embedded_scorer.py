"""Trains the embedded scorer: a LLaVA-OneVision of about 1.3 M parameters that knows moving shapes, on one CPU thread.

Single frames come first, then films that are asked for places in many frames (docs/training_the_scorer.md says why).
A share of the film batches shows one frame or none, so that p(text | one frame) and p(text) are trained
conditionals (without it TPL is an out-of-distribution artefact). All conversations about a film are branches behind
one copy of its frames. Muon on the hidden matrices: AdamW alone learned nothing in the same time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
)

from pipeline.shapes.lessons import Conversation, Lesson, lesson, picture, place_at, shown
from stages.algorithms.prompt import header
from stages.algorithms.scene import Scene
from stages.algorithms.world import BACKGROUND
from stages.models.family import PromptRow
from stages.models.onevision import OneVision, PixelRule, Shown
from stages.models.shared_prefix import target_logits

SIDE_PX = 96  # 6 x 6 patches, pooled to 3 x 3 tokens a frame: one for each place that has a name
N_FRAMES = 8
LONG = 300  # characters: conversations with a whole track; one of them costs as much as four others
Part = Literal["pictures", "films"]
PARTS: tuple[Part, ...] = ("pictures", "films")  # in this order
CORE = ("shown", "caption", "where")  # in every step: places frame by frame, and motion
NUMBER_WEIGHT = 0.2  # of coordinates in the loss: most tokens, of which the last digit cannot be seen
WAVES = 16  # of the Fourier features that number embeddings start from, so that neighbours are near
PIXEL = PixelRule(SIDE_PX, (BACKGROUND / 255,) * 3, (64 / 255,) * 3)  # background near 0: loss .31 against .62 (pilot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How long and on what; what it costs and what came of it stands in docs/training_the_scorer.md."""

    seed: int = 0
    image_steps: int = 1500
    image_batch: int = 40
    film_steps: int = 1250
    film_batch: int = 16
    talks: int = 5  # of the composer's short conversations, a film and step
    places: int = 3  # questions for a place at a frame that is shown, a film and step
    long_share: float = 0.15  # of the steps that also have a long one
    one_frame_share: float = 0.3
    no_frame_share: float = 0.05
    lr_matrix: float = 0.007
    lr_other: float = 3e-3
    hidden: int = 128


class Lessons(Dataset[Lesson]):
    """Lesson i of a part of the course; the same on any number of workers."""

    def __init__(self, seed: int, part: Part, count: int) -> None:
        self.seed, self.part, self.count = seed, part, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Lesson:
        rng = np.random.default_rng([self.seed, PARTS.index(self.part), i])
        if self.part == "pictures":
            return picture(rng, side_px=SIDE_PX)
        return lesson(rng, side_px=SIDE_PX, n_frames=N_FRAMES)


def new_scorer(course: Course, tokenizer: PreTrainedTokenizerFast) -> OneVision:
    """A scorer that knows nothing."""
    torch.manual_seed(course.seed)
    return OneVision(new_model(tokenizer, course.hidden), tokenizer, PIXEL)


def train_part(scorer: OneVision, course: Course, part: Part, log: Callable[[int, float], None]) -> None:
    """One part of the course, in place, with a warm-up and a decay of its own; `log(step, loss)` is called each step.

    A state between the two parts is a checkpoint: nothing else is carried over.
    """
    torch.set_num_threads(1)  # a second one gains 1.1 to 1.3 on an idle machine and loses 5 on a busy one (pilot)
    image = part == "pictures"
    steps, batch = (course.image_steps, course.image_batch) if image else (course.film_steps, course.film_batch)
    rng = np.random.default_rng([course.seed, 7, PARTS.index(part)])
    optimizers, schedulers = _optimizers(scorer.model, course, steps)
    scorer.model.train()
    scorer.model.set_attn_implementation("eager")  # torch's fused one is 1.5 times as slow backwards, in rows so short
    for step, lessons in enumerate(_batches(Lessons(course.seed, part, steps * batch), batch)):
        loss = _loss(scorer, lessons, "all" if image else _showing(rng, course), rng, course)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(scorer.model.parameters(), 1.0)
        for stepped in (*optimizers, *schedulers):
            stepped.step()
        scorer.model.zero_grad(set_to_none=True)
        log(step, float(loss.detach()))
    scorer.model.set_attn_implementation("sdpa")
    scorer.model.eval()


def new_model(tokenizer: PreTrainedTokenizerFast, hidden: int) -> LlavaOnevisionForConditionalGeneration:
    """Random weights of the real class; vision position embeddings start large (loss .31 against .45, pilot)."""
    text = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=hidden * 5 // 2, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=8192, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=_id(tokenizer, "<|im_end|>"), pad_token_id=_id(tokenizer, "<|pad|>"),
    )  # fmt: skip
    vision = SiglipVisionConfig(
        hidden_size=96, intermediate_size=256, num_hidden_layers=3, num_attention_heads=3, image_size=SIDE_PX,
        patch_size=16,
    )  # fmt: skip
    setattr(vision, "vision_use_head", False)  # noqa: B010 -- read by the tower, declared nowhere
    config = LlavaOnevisionConfig(
        text_config=text, vision_config=vision, vision_feature_layer=-1, vision_feature_select_strategy="full",
        video_token_index=_id(tokenizer, "<video>"), tie_word_embeddings=True,
        image_token_index=_id(tokenizer, "<image>"),
    )  # fmt: skip
    model = LlavaOnevisionForConditionalGeneration(config)
    position = model.model.vision_tower.get_submodule("embeddings.position_embedding").weight
    torch.nn.init.normal_(position, std=0.5)
    _spread_numbers(model.get_parameter("model.language_model.embed_tokens.weight"), tokenizer)
    return model


def _spread_numbers(embedding_VD: torch.Tensor, tokenizer: PreTrainedTokenizerFast) -> None:
    """Starts the embeddings of 0..1000 on a smooth curve: 351 is learned where 350 and 352 are seen."""
    angle = torch.outer(torch.arange(1001) / 1001, torch.arange(1, WAVES + 1) * torch.pi)
    waves = torch.cat([angle.sin(), angle.cos()], dim=1) / torch.arange(1, WAVES + 1).repeat(2)
    curve = waves @ torch.randn(2 * WAVES, embedding_VD.shape[1])
    with torch.no_grad():
        embedding_VD[_numbers(tokenizer)] = curve / curve.std() * embedding_VD.std()


def _id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    return int(tokenizer.get_vocab()[token])


@cache
def _numbers(tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    vocabulary = tokenizer.get_vocab()
    return torch.tensor([vocabulary[str(n)] for n in range(1001)])


def _batches(lessons: Lessons, size: int) -> Iterator[list[Lesson]]:
    """One process makes films while this one learns."""
    loader = DataLoader(lessons, batch_size=size, num_workers=1, prefetch_factor=4, collate_fn=list)
    yield from loader


def _showing(rng: np.random.Generator, course: Course) -> str:
    draw = rng.random()
    if draw < course.one_frame_share:
        return "one"
    return "none" if draw < course.one_frame_share + course.no_frame_share else "all"


def _loss(
    scorer: OneVision,
    lessons: Sequence[Lesson],
    showing: str,
    rng: np.random.Generator,
    course: Course,
) -> torch.Tensor:
    """Mean cross-entropy of the answers' tokens, numbers weighing less; computed in bfloat16, a quarter faster."""
    with_long = bool(rng.random() < course.long_share)
    contexts = [_shown(item, showing, rng) for item in lessons]
    branches = [
        [scorer.branch(c.question, c.answer, end=True) for c in _talks(item, context, rng, course, with_long)]
        for item, context in zip(lessons, contexts, strict=True)
    ]
    prefixes = [scorer.prefix(c, (SIDE_PX // 32) ** 2) for c in contexts]
    with torch.autocast("cpu", torch.bfloat16):
        visual = _visual(scorer, lessons, contexts)
        rows = [PromptRow(p, v) for p, v in zip(prefixes, visual, strict=True)]
        logits, target_id = target_logits(scorer, rows, branches)
    weight = torch.ones(logits.shape[1])
    weight[_numbers(scorer.tokenizer)] = NUMBER_WEIGHT
    return torch.nn.functional.cross_entropy(logits, target_id, weight=weight)


def _visual(scorer: OneVision, lessons: Sequence[Lesson], contexts: Sequence[Shown]) -> list[torch.Tensor]:
    """The visual tokens of each context; only frames that are shown go through the tower."""
    if not any(c.index for c in contexts):
        return [scorer.model.model.image_newline.new_zeros(0, scorer.model.model.image_newline.shape[0])] * len(lessons)
    frames = [item.frames_THWC[list(c.index)] for item, c in zip(lessons, contexts, strict=True)]
    features = scorer.encode(torch.cat([PIXEL.normalise(f) for f in frames])).split([len(f) for f in frames])
    return [
        scorer.visual(f, replace(c, index=tuple(range(len(c.index))))) for f, c in zip(features, contexts, strict=True)
    ]


def _shown(item: Lesson, showing: str, rng: np.random.Generator) -> Shown:
    every = tuple(range(item.scene.n_frames))
    index = {"all": every, "one": (int(rng.choice(every)),), "none": ()}[showing]
    return Shown(index, header([i + 1 for i in index], item.times))


def _talks(
    item: Lesson, context: Shown, rng: np.random.Generator, course: Course, with_long: bool
) -> list[Conversation]:
    """Some of the film's conversations; where one of its frames is shown, what that one shows."""
    said = [item.conversations[i] for i in rng.permutation(len(item.conversations))]
    if len(context.index) == 1 < item.scene.n_frames:
        said = [c for c in said if c.kind != "shown"] + [shown(item.scene, context.index[0] + 1)]
    long = [c for c in said if len(c.question) + len(c.answer) > LONG]
    core = [c for c in said if c.kind in CORE]
    other = [c for c in said if c not in long and c not in core]
    short = [*core, *other[: max(0, course.talks - len(core))]]
    return [*long[:with_long], *short, *_places(item.scene, context, rng, course.places)]


def _places(scene: Scene, context: Shown, rng: np.random.Generator, count: int) -> list[Conversation]:
    """Where subjects are at frames that the context shows.

    Asking by name teaches what enumerating does not: whose place a place is (else right for .94 of lone subjects and
    .50 of pairs), and asking at many frames which frame is meant.
    """
    seen = [(t, k) for t in scene.tracks for k in scene.seen(t) if k - 1 in context.index]
    return [place_at(scene, *seen[i]) for i in rng.permutation(len(seen))[:count]]


def _optimizers(
    model: torch.nn.Module, course: Course, steps: int
) -> tuple[list[torch.optim.Optimizer], list[torch.optim.lr_scheduler.LRScheduler]]:
    """Muon for hidden matrices, AdamW for the rest; warm-up 50 steps, flat, linear decay over the last 40 %."""
    matrices, others = [], []
    for key, weight in model.named_parameters():
        hidden = weight.ndim == 2 and "embed" not in key and "lm_head" not in key
        (matrices if hidden else others).append(weight)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=course.lr_matrix, weight_decay=0.0),
        torch.optim.AdamW(others, lr=course.lr_other, weight_decay=0.0, betas=(0.9, 0.98)),
    ]

    def rate(step: int) -> float:
        return min((step + 1) / 50, 1.0, (steps - step) / (0.4 * steps))

    return optimizers, [torch.optim.lr_scheduler.LambdaLR(o, rate) for o in optimizers]
