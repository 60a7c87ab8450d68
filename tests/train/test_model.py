"""A pack against the stock classes' own forward, one example at a time; and that nothing leaks from one to another."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.train.collate import pack
from pipeline.train.example import NO_LABEL
from pipeline.train.model import PackedModel
from stages.algorithms.tpl import VIDEO, Context
from stages.models.load import load_family
from stages.models.protocols import Target
from stages.models.reference import Reference
from tests.models.tiny import KINDS
from tests.train.model_kit import TALK, TURNS, Subject, encoder, family, film, folder, image, said

SAME = 1e-5  # nats a token, float32
ALONE = 1e-6


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def subject(kind: str) -> Subject:
    return Subject(kind)


@torch.no_grad()
def test_a_film_costs_what_the_stock_class_says(subject: Subject) -> None:
    """By public inputs, pixels and positions of its own."""
    media = film(3)
    for turns in (TURNS, TALK):
        (question, answer), history = turns[-1], turns[:-1]
        reference = Reference(subject.family, media.frames_THWC, media.times)
        truth = reference.logprob(Context(VIDEO, None, (0, 1, 2)), Target("t", question, answer, history))
        nll = subject.nll([encoder(subject.family).encode(said(media, turns))])
        np.testing.assert_allclose(-nll[-len(truth) - 1 : -1], truth, atol=SAME)


@torch.no_grad()
@pytest.mark.parametrize("size_HW", [(100, 70), (30, 90), (300, 310)])
def test_an_image_costs_what_the_stock_class_says(subject: Subject, size_HW: tuple[int, int]) -> None:
    of = subject.family
    example = encoder(of).encode(said(image(size_HW)))
    assert example.tiles is not None
    ids = torch.from_numpy(example.token_id_S)[None]
    inputs: dict[str, Any] = {}
    if of.model.config.model_type == "llava_onevision":
        inputs["pixel_values"] = of.pixel.normalise(example.tiles.tiles_NHWC)[None]
        inputs["image_sizes"] = torch.tensor([size_HW])
    else:
        rule, vision = of.pixel, of.model.config.vision_config
        flat = rule.for_images(9 * 256 * rule.factor_px**2).tensor(image(size_HW).frames_THWC)
        rows, columns = (n // vision.patch_size for n in flat.shape[-2:])
        inputs["pixel_values"] = _patches(flat[0], vision.patch_size)
        inputs["image_grid_thw"] = torch.tensor([[1, rows, columns]])
        inputs["mm_token_type_ids"] = (ids == of.image_id).int()
    logprob = of.model(input_ids=ids, **inputs).logits[0].log_softmax(-1)
    at = np.flatnonzero(example.label_S != NO_LABEL)
    truth = logprob[at - 1, example.token_id_S[at]]
    torch.testing.assert_close(-subject.nll([example]), truth, atol=SAME, rtol=0)


def _patches(pixels_CHW: torch.Tensor, side: int) -> torch.Tensor:
    """In the order of the processor: blocks of two by two, each picture twice."""
    twice = torch.stack([pixels_CHW, pixels_CHW], dim=1)
    blocks = twice.unfold(2, 2 * side, 2 * side).unfold(3, 2 * side, 2 * side)  # C, 2, rows, columns, 2 side, 2 side
    cells = blocks.unfold(4, side, side).unfold(5, side, side)  # ..., 2, 2, side, side
    return cells.permute(2, 3, 4, 5, 0, 1, 6, 7).reshape(-1, 3 * 2 * side**2)


@torch.no_grad()
def test_packed_equals_separate(subject: Subject) -> None:
    together = subject.by_example(subject.examples)
    backwards = subject.by_example(subject.examples[::-1])[::-1]
    for k, example in enumerate(subject.examples):
        alone = subject.nll([example])
        assert len(alone) > 1
        torch.testing.assert_close(together[k], alone, atol=SAME, rtol=0)
        torch.testing.assert_close(backwards[k], alone, atol=SAME, rtol=0)


@torch.no_grad()
def test_no_other_example_changes_what_one_costs(subject: Subject) -> None:
    """Its words, its pixels, or all of it and its length."""
    before = subject.by_example(subject.examples)
    words = replace(subject.examples[0], token_id_S=subject.examples[0].token_id_S.copy())
    words.token_id_S[np.flatnonzero(words.label_S != NO_LABEL)[0]] += 1
    shown = subject.examples[1]
    assert shown.tiles is not None
    pixels = replace(shown, tiles=replace(shown.tiles, tiles_NHWC=255 - shown.tiles.tiles_NHWC))
    # A pack of another length is another shape of matrix product, and rounds otherwise.
    other = encoder(subject.family).encode(said(film(4, key=9), TALK))
    for k, changed, rounding in ((0, words, ALONE), (1, pixels, ALONE), (0, other, SAME), (3, other, SAME)):
        examples = [changed if i == k else e for i, e in enumerate(subject.examples)]
        after = subject.by_example(examples)
        assert after[k].shape != before[k].shape or (after[k] - before[k]).abs().max() > 1000 * ALONE
        for i in set(range(len(examples))) - {k}:
            torch.testing.assert_close(after[i], before[i], atol=rounding, rtol=0)


def test_gradients_of_ones_loss_by_anothers_embeddings_are_zero(subject: Subject) -> None:
    held: list[torch.Tensor] = []

    def hold(_module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        kwargs["inputs_embeds"].retain_grad()
        held.append(kwargs["inputs_embeds"])

    handle = subject.model.model.model.language_model.register_forward_pre_hook(hold, with_kwargs=True)
    made = pack(subject.examples, subject.family)
    nll = subject.model(made)
    handle.remove()
    mine = made.segment_S[made.label_S != NO_LABEL]
    for k in range(len(subject.examples)):
        (grad,) = torch.autograd.grad(nll[mine == k].sum(), held, retain_graph=True)
        by_token = grad[0].abs().amax(-1)
        assert by_token[made.segment_S != k].max() == 0
        assert by_token[made.segment_S == k].min() >= 0
        assert by_token[made.segment_S == k].max() > 1e-3


def _all_ones(kwargs: dict[str, Any]) -> None:
    kwargs["attention_mask"] = torch.ones(kwargs["inputs_embeds"].shape[:2], dtype=torch.long)


def _counting_on(kwargs: dict[str, Any]) -> None:
    position = kwargs["position_ids"]
    kwargs["position_ids"] = torch.arange(position.shape[-1]).expand(position.shape)


def _with_a_cache(kwargs: dict[str, Any]) -> None:
    kwargs["use_cache"] = True


@torch.no_grad()
@pytest.mark.parametrize("breaks", [_all_ones, _counting_on, _with_a_cache])
def test_each_way_to_leak_is_seen(subject: Subject, breaks: Callable[[dict[str, Any]], None]) -> None:
    """What these tests would say if one of the three conditions were dropped."""
    first, second = subject.examples[0], subject.examples[3]
    alone = subject.nll([second])
    handle = subject.model.model.model.language_model.register_forward_pre_hook(
        lambda _module, _args, kwargs: breaks(kwargs), with_kwargs=True
    )
    leaking = subject.by_example([first, second])[1]
    handle.remove()
    assert (leaking - alone).abs().max() > 1000 * SAME
    torch.testing.assert_close(subject.by_example([first, second])[1], alone, atol=SAME, rtol=0)


def test_tokens_of_another_encoder_are_refused(subject: Subject) -> None:
    example = subject.examples[0]
    token_id_S = example.token_id_S.copy()
    token_id_S[np.flatnonzero(token_id_S == subject.family.video_id)[0]] = subject.family.pad_id
    with pytest.raises(ValueError, match=r"places for visual tokens, .* another encoder"):
        subject.nll([replace(example, token_id_S=token_id_S)])


def test_names_and_files_are_those_of_the_stock_class(subject: Subject, tmp_path: Path) -> None:
    names = set(dict(family(subject.family.model.config.model_type).model.named_parameters()))
    assert {n.removeprefix("model.") for n, _ in subject.model.named_parameters()} == names
    subject.family.model.save_pretrained(tmp_path)
    kind = subject.family.model.config.model_type
    assert (tmp_path / "model.safetensors").stat().st_size == (folder(kind) / "model.safetensors").stat().st_size


@torch.no_grad()
def test_no_words_and_no_frames_are_what_they_are_to_the_scorer(subject: Subject) -> None:
    """L(y), which the curve of TPL is measured with: a film of which nothing is shown."""
    media = film(3)
    nothing = replace(media, index=(), frames_THWC=media.frames_THWC[:0])
    reference = Reference(subject.family, media.frames_THWC, media.times)
    truth = reference.logprob(Context("none", None, ()), Target("t", *TURNS[0]))
    nll = subject.nll([encoder(subject.family).encode(said(nothing))])
    np.testing.assert_allclose(-nll[:-1], truth, atol=SAME)


@torch.no_grad()
def test_half_precision_gives_nats_in_single(subject: Subject, kind: str) -> None:
    half = load_family(str(folder(kind)), dtype="bfloat16", device="cpu", max_pixels=None)
    nll = PackedModel(half)(pack(subject.examples, half))
    assert nll.dtype == torch.float32
    assert 1e-4 < (nll - subject.nll(subject.examples)).abs().mean() < 0.1
