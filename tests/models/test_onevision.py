"""The embedded scorers' model, untrained, against brute force: scored, and packed as for training."""

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
from stages.models.packing import Branch, pack, plain
from stages.models.protocols import Target
from stages.models.reference import Reference
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


@torch.inference_mode()
def test_packed_rows_of_training_equal_brute_force(scorer: OneVision, film: Lesson) -> None:
    """Rows of unequal length, with all frames, one and none: what is trained is what is scored."""
    talks = film.conversations[:4]
    features = scorer.encode(PIXEL.normalise(film.frames_THWC))
    shown = [Shown(i, header([k + 1 for k in i], film.times)) for i in (tuple(range(8)), (3,), ())]
    branches = [scorer.branch(t.question, t.answer) for t in talks]
    packed = pack([scorer.prefix(s, TOKENS_A_FRAME) for s in shown], [branches] * 3, scorer.pad_id)
    logits = scorer.target_logits(packed, scorer.embed(packed, [scorer.visual(features, s) for s in shown]))
    found = logits.log_softmax(-1).gather(1, packed.target_id[:, None])[:, 0].numpy()
    reference = Reference(scorer, film.frames_THWC, film.times)
    seen = [Context("", None, s.index) for s in shown]
    truth = [reference.logprob(c, Target(t.kind, t.question, t.answer)) for c in seen for t in talks]
    np.testing.assert_allclose(found, np.concatenate(truth), atol=FLOOR)


def test_branches_do_not_see_each_other() -> None:
    packed = pack([plain([5, 6, 7])], [[Branch((1, 2), 1), Branch((3, 4), 1)]], pad_id=0)
    mask = packed.mask_B1SS[0, 0]
    assert mask[3:5, :3].all()
    assert mask[5:7, :3].all()
    assert not mask[5:7, 3:5].any()
    assert packed.position_ABS[0, 0].tolist() == [0, 1, 2, 3, 4, 3, 4]
    assert packed.target_position.tolist() == [3, 5]
    assert packed.target_id.tolist() == [2, 4]


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
    packed = pack([scorer.prefix(shown, 4)], [[scorer.branch("a", "b")]], 0)
    with pytest.raises(ValueError, match="video positions"):
        scorer.embed(packed, [scorer.visual(features, shown)[:-2]])


def test_every_number_is_one_token(tokenizer: PreTrainedTokenizerFast) -> None:
    assert all(len(tokenizer.encode(f"{n},")) == 2 for n in range(1001))


def test_any_text_has_a_likelihood(scorer: OneVision) -> None:
    text = "日本語 and ümlauts"
    assert scorer.tokenizer.decode(scorer.ids(text)) == text
