"""The embedded scorers' model, untrained, against brute force: scored, and read as in training."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast

from pipeline.shapes.embedded_scorer import PIXEL, SIDE_PX, new_model
from pipeline.shapes.lessons import Lesson, lesson
from pipeline.shapes.vocabulary import train_tokenizer
from stages.algorithms.prompt import header
from stages.algorithms.tpl import Context, contexts
from stages.models.family import PromptRow
from stages.models.onevision import OneVision, Shown
from stages.models.prefix import Branch
from stages.models.protocols import Target
from stages.models.reference import Reference
from stages.models.shared_prefix import target_logits
from stages.models.transformers_scorer import TransformersScorer

FLOOR = 1e-4  # nats a token, float32
TOKENS_A_FRAME = 9


@pytest.fixture(scope="module")
def film() -> Lesson:
    return lesson(np.random.default_rng(3), side_px=SIDE_PX, n_frames=8, film=False)


@pytest.fixture(scope="module")
def tokenizer(film: Lesson) -> PreTrainedTokenizerFast:
    return train_tokenizer([t for c in film.conversations for t in (c.question, c.answer)] * 50)


@pytest.fixture(scope="module")
def scorer(tokenizer: PreTrainedTokenizerFast) -> OneVision:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return OneVision(new_model(tokenizer, 64), tokenizer, PIXEL)


def test_engine_equals_brute_force_in_every_context_and_target(scorer: OneVision, film: Lesson) -> None:
    seen = contexts(8, shuffles=2, key="k")
    targets = [Target(t.kind, t.question, t.answer) for t in film.conversations[:6]]
    readings = TransformersScorer(scorer, None, "new").watch(film.frames_THWC, film.times).read(targets, seen)
    reference = Reference(scorer, film.frames_THWC, film.times)
    for target, reading in zip(targets, readings, strict=True):
        for context, logprob in zip(seen, reading.logprob, strict=True):
            assert np.abs(reference.logprob(context, target) - logprob).max() <= FLOOR
    spread = np.ptp([v.sum() for v in readings[0].logprob])
    assert spread > 100 * FLOOR  # contexts do differ: the comparison is no comparison of constants


@pytest.fixture(params=["sdpa", "eager"])
def attention(request: pytest.FixtureRequest, scorer: OneVision) -> Iterator[str]:
    """The attention that scores, and the one that trains."""
    scorer.model.set_attn_implementation(request.param)
    yield request.param
    scorer.model.set_attn_implementation("sdpa")


@torch.inference_mode()
@pytest.mark.usefixtures("attention")
def test_what_is_trained_equals_brute_force(scorer: OneVision, film: Lesson) -> None:
    """Rows of unequal length, with all frames, one and none: what is trained is what is scored."""
    talks = film.conversations[:4]
    features = scorer.encode(PIXEL.normalise(film.frames_THWC))
    shown = [Shown(i, header([k + 1 for k in i], film.times)) for i in (tuple(range(8)), (3,), ())]
    branches = [scorer.branch(t.question, t.answer) for t in talks]
    rows = [PromptRow(scorer.prefix(s, TOKENS_A_FRAME), scorer.visual(features, s)) for s in shown]
    logits, target_id = target_logits(scorer, rows, [branches] * 3)
    found = logits.log_softmax(-1).gather(1, target_id[:, None])[:, 0].numpy()
    reference = Reference(scorer, film.frames_THWC, film.times)
    seen = [Context("", None, s.index) for s in shown]
    truth = [reference.logprob(c, Target(t.kind, t.question, t.answer)) for c in seen for t in talks]
    np.testing.assert_allclose(found, np.concatenate(truth), atol=FLOOR)


@pytest.mark.usefixtures("attention")
def test_gradients_are_those_of_plain_rows(scorer: OneVision, film: Lesson) -> None:
    """Prefixes are shared forwards; what targets learn must come back to all of them, frames included."""
    shown = [Shown(i, header([k + 1 for k in i], film.times)) for i in (tuple(range(8)), (3,))]
    branches = [scorer.branch(t.question, t.answer) for t in film.conversations[:4]]

    def rows() -> list[PromptRow]:
        features = scorer.encode(PIXEL.normalise(film.frames_THWC))
        return [PromptRow(scorer.prefix(s, TOKENS_A_FRAME), scorer.visual(features, s)) for s in shown]

    shared = _gradient(scorer, cross_entropy(*target_logits(scorer, rows(), [branches] * 2), reduction="sum"))
    plain = [_plain_loss(scorer, row, branch) for row in rows() for branch in branches]
    torch.testing.assert_close(shared, _gradient(scorer, torch.stack(plain).sum()), atol=1e-3, rtol=1e-3)
    assert float(shared.norm()) > 1


def _plain_loss(scorer: OneVision, row: PromptRow, branch: Branch) -> torch.Tensor:
    """One row of prefix and branch, read whole by the language model."""
    embeds = scorer.embed(torch.tensor([[*row.prefix.token_id, *branch.token_id]]), [row.visual])
    hidden = scorer.model.model.language_model(inputs_embeds=embeds, use_cache=False).last_hidden_state[0]
    target = torch.tensor(branch.token_id[-branch.n_target :])
    return cross_entropy(scorer.model.lm_head(hidden[-branch.n_target - 1 : -1]), target, reduction="sum")


def _gradient(scorer: OneVision, loss: torch.Tensor) -> torch.Tensor:
    weights = [w for w in scorer.model.parameters() if w.requires_grad]
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return torch.cat(
        [torch.zeros_like(w).flatten() if g is None else g.flatten() for w, g in zip(weights, found, strict=True)]
    )


def test_ids_in_parts_are_the_ids_of_the_whole(scorer: OneVision, film: Lesson) -> None:
    """The prompt is tokenised in parts, so that its prefix can be shared; the parts must not change the ids."""
    shown = Shown((0, 3), header([1, 4], film.times))
    talk = film.conversations[0]
    parts = [*scorer.prefix(shown, TOKENS_A_FRAME).token_id, *scorer.branch(talk.question, talk.answer).token_id]
    visual = "<video>" * (2 * TOKENS_A_FRAME + 1)
    asked = f"<|im_start|>user\n{visual}\n{shown.header}\n{talk.question}<|im_end|>\n"
    whole = f"{asked}<|im_start|>assistant\n{talk.answer}"
    assert parts == scorer.tokenizer.encode(whole, add_special_tokens=False)


def test_visual_tokens_are_never_cut(scorer: OneVision, film: Lesson) -> None:
    features = torch.zeros(3, 4, 64)
    shown = Shown((0, 1, 2), "3 frames")
    token_id = torch.tensor([scorer.prefix(shown, 4).token_id])
    with pytest.raises(ValueError, match="video positions"):
        scorer.embed(token_id, [scorer.visual(features, shown)[:-2]])


def test_every_number_is_one_token(tokenizer: PreTrainedTokenizerFast) -> None:
    assert all(len(tokenizer.encode(f"{n},")) == 2 for n in range(1001))


def test_any_text_has_a_likelihood(scorer: OneVision) -> None:
    text = "日本語 and ümlauts"
    assert scorer.tokenizer.decode(scorer.ids(text)) == text
