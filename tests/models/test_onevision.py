"""The shared-prefix engine against brute force: one plain forward for each context and target, batch of one."""

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from pipeline.train.embedded_scorer import PIXEL, SIDE_PX, new_model
from pipeline.train.lessons import Lesson, lesson
from pipeline.train.vocabulary import train_tokenizer
from stages.algorithms.prompt import header
from stages.algorithms.tpl import Context, contexts
from stages.models.onevision import OneVision, Shown
from stages.models.packing import Branch, pack

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


@torch.inference_mode()
def brute(scorer: OneVision, film: Lesson, context: Context, question: str, answer: str) -> np.ndarray:
    """Log-probabilities of the answer's tokens from the model's public forward, full logits, nothing shared."""
    tok = scorer.tokenizer
    visual = ""
    if context.index:
        visual = "<video>" * (TOKENS_A_FRAME * len(context.index) + 1)
    head = header([i + 1 for i in context.index], film.times)
    text = f"<|im_start|>user\n{visual}\n{head}\n{question}<|im_end|>\n<|im_start|>assistant\n"
    asked, answered = tok.encode(text, add_special_tokens=False), tok.encode(answer, add_special_tokens=False)
    ids = torch.tensor([[*asked, *answered]])
    pixels = PIXEL.normalise(film.frames_THWC[list(context.index)])[None] if context.index else None
    logits = scorer.model(input_ids=ids, pixel_values_videos=pixels).logits[0].float()
    logprob = logits[len(asked) - 1 : -1].log_softmax(-1)
    return logprob.gather(1, torch.tensor(answered)[:, None])[:, 0].numpy()


@torch.inference_mode()
def test_engine_equals_brute_force_in_every_context_and_target(scorer: OneVision, film: Lesson) -> None:
    seen = contexts(8, shuffles=2, key="k")
    talks = film.conversations[:6]
    features = scorer.encode(PIXEL.normalise(film.frames_THWC))
    shown = [Shown(c.index, header([i + 1 for i in c.index], film.times)) for c in seen]
    branches = [scorer.branch(t.question, t.answer) for t in talks]
    together = scorer.logprobs(features, shown, branches)
    worst = 0.0
    for context, row in zip(seen, together, strict=True):
        for talk, logprob in zip(talks, row, strict=True):
            truth = brute(scorer, film, context, talk.question, talk.answer)
            worst = max(worst, float(np.abs(truth - logprob).max()))
    assert worst <= FLOOR
    spread = np.ptp([row[0].sum() for row in together])
    assert spread > 100 * FLOOR  # contexts do differ: the comparison is no comparison of constants


@torch.inference_mode()
def test_a_score_does_not_depend_on_what_shares_the_batch(scorer: OneVision, film: Lesson) -> None:
    features = scorer.encode(PIXEL.normalise(film.frames_THWC))
    shown = [Shown(c.index, header([i + 1 for i in c.index], film.times)) for c in contexts(8, shuffles=0, key="")]
    branches = [scorer.branch(t.question, t.answer) for t in film.conversations]
    alone = [scorer.logprobs(features, [s], [b])[0][0] for s in shown for b in branches[:3]]
    mixed = scorer.logprobs(features, shown[::-1], branches[::-1])[::-1]
    for want, got in zip(alone, (v for row in mixed for v in row[::-1][:3]), strict=True):
        np.testing.assert_allclose(got, want, atol=FLOOR)


def test_branches_do_not_see_each_other() -> None:
    packed = pack([[5, 6, 7]], [[Branch((1, 2), 1), Branch((3, 4), 1)]], pad_id=0)
    mask = packed.mask_B1SS[0, 0]
    assert mask[3:5, :3].all()
    assert mask[5:7, :3].all()
    assert not mask[5:7, 3:5].any()
    assert packed.position_BS[0].tolist() == [0, 1, 2, 3, 4, 3, 4]
    assert packed.target_position.tolist() == [3, 5]
    assert packed.target_id.tolist() == [2, 4]


def test_ids_in_parts_are_the_ids_of_the_whole(scorer: OneVision, film: Lesson) -> None:
    """The prompt is tokenised in parts, so that its prefix can be shared; the parts must not change the ids."""
    shown = Shown((0, 3), header([1, 4], film.times))
    talk = film.conversations[0]
    parts = [*scorer.prefix(shown, TOKENS_A_FRAME), *scorer.branch(talk.question, talk.answer).token_id]
    visual = "<video>" * (2 * TOKENS_A_FRAME + 1)
    asked = f"<|im_start|>user\n{visual}\n{shown.header}\n{talk.question}<|im_end|>\n"
    whole = f"{asked}<|im_start|>assistant\n{talk.answer}"
    assert parts == scorer.tokenizer.encode(whole, add_special_tokens=False)


def test_visual_tokens_are_never_cut(scorer: OneVision, film: Lesson) -> None:
    features = torch.zeros(3, 4, 64)
    shown = Shown((0, 1, 2), "3 frames")
    packed = pack([scorer.prefix(shown, 4)], [[scorer.branch("a", "b")]], 0)
    with pytest.raises(ValueError, match="video positions"):
        scorer.embed(packed, [scorer.visual(features, shown)[:-2]])


def test_every_number_is_one_token(tokenizer: PreTrainedTokenizerFast) -> None:
    assert all(len(tokenizer.encode(f"{n},")) == 2 for n in range(1001))


def test_any_text_has_a_likelihood(scorer: OneVision) -> None:
    text = "日本語 and ümlauts"
    assert scorer.tokenizer.decode(scorer.ids(text)) == text
