"""What is trained on, token by token: against golden texts, the scorer's prompt, and the original's own labelling."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlavaOnevisionImageProcessorPil, Qwen2VLImageProcessorPil

from pipeline.train.encode import Encoder, shape_of
from pipeline.train.example import NO_LABEL, Media
from stages.models.protocols import NotSeparable, TooLong
from tests.models.tiny import KINDS, PINPOINTS, SIDE_PX
from tests.train.model_kit import TALK, TURNS, encoder, family, film, image, marked, said

# Labels in «»; a number behind a picture's mark counts its tokens.
VIDEO = "3 frames: frame1, 0.00 s; frame2, 0.70 s; frame3, 1.40 s"
IMAGE_HW = (100, 70)
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
GOLDEN = {
    ("llava_onevision", "assistant_only", "film"): (
        f"<|im_start|>user <video>13\n\n{VIDEO}\nWhat happens?<|im_end|><|im_start|>assistant\n"
        "«A red circle moves right.<|im_end|>»"
    ),
    ("llava_onevision", "assistant_only", "talk"): (
        f"<|im_start|>user <video>13\n\n{VIDEO}\nWho is there?<|im_end|><|im_start|>assistant \n"
        "«A green square.<|im_end|>»<|im_start|>user \nSure?<|im_end|><|im_start|>assistant \n«Yes.<|im_end|>»"
        "<|im_start|>user \nAnd where?<|im_end|><|im_start|>assistant\n«at the top left<|im_end|>»"
    ),
    ("llava_onevision", "assistant_only", "image"): (
        "<|im_start|>user <image>72\n\nWhat happens?<|im_end|><|im_start|>assistant\n"
        "«A red circle moves right.<|im_end|>»"
    ),
    ("llava_onevision", "assistant_only", "text"): (
        "<|im_start|>user \nWhat happens?<|im_end|><|im_start|>assistant\n«A red circle moves right.<|im_end|>»"
    ),
    ("llava_onevision", "llava_next", "film"): (
        f"<|im_start|>user <video>13«\n\n»{VIDEO}«\n»What happens?«<|im_end|><|im_start|>assistant\n"
        "A red circle moves right.<|im_end|>»"
    ),
    ("llava_onevision", "llava_next", "text"): (
        "<|im_start|>user «\n»What happens?«<|im_end|><|im_start|>assistant\nA red circle moves right.<|im_end|>»"
    ),
    ("llava_onevision", "plain", "film"): "<video>13«A red circle moves right.\n»",
    ("llava_onevision", "plain", "image"): "<image>72«A red circle moves right.\n»",
    ("qwen2_5_vl", "assistant_only", "talk"): (
        f"{SYSTEM}<|im_start|>user\n<|vision_start|><|video_pad|>12<|vision_end|>{VIDEO}\nWho is there?<|im_end|>\n"
        "<|im_start|>assistant\n«A green square.<|im_end|>»\n<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\n"
        "«Yes.<|im_end|>»\n<|im_start|>user\nAnd where?<|im_end|>\n<|im_start|>assistant\n«at the top left<|im_end|>»"
    ),
    ("qwen2_5_vl", "assistant_only", "image"): (
        f"{SYSTEM}<|im_start|>user\n<|vision_start|><|image_pad|>8<|vision_end|>What happens?<|im_end|>\n"
        "<|im_start|>assistant\n«A red circle moves right.<|im_end|>»"
    ),
    ("qwen2_5_vl", "llava_next", "talk"): (
        "<|im_start|>system«\n»You are a helpful assistant.«<|im_end|>\n<|im_start|>»user«\n»"
        f"<|vision_start|><|video_pad|>12<|vision_end|>{VIDEO}«\n»Who is there?«<|im_end|>\n<|im_start|>assistant\n"
        "A green square.<|im_end|>\n<|im_start|>»user«\n»Sure?«<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n"
        "<|im_start|>»user«\n»And where?«<|im_end|>\n<|im_start|>assistant\nat the top left<|im_end|>\n»"
    ),
    ("qwen2_5_vl", "llava_next", "image"): (
        "<|im_start|>system«\n»You are a helpful assistant.«<|im_end|>\n<|im_start|>»user«\n»"
        "<|vision_start|><|image_pad|>8<|vision_end|>What happens?«<|im_end|>\n<|im_start|>assistant\n"
        "A red circle moves right.<|im_end|>\n»"
    ),
    ("qwen2_5_vl", "plain", "image"): "<|vision_start|><|image_pad|>8<|vision_end|>«A red circle moves right.\n»",
}
SHOWN: dict[str, tuple[Media | None, Any]] = {
    "film": (film(3), TURNS),
    "talk": (film(3), TALK),
    "image": (image(IMAGE_HW), TURNS),
    "text": (None, TURNS),
}
FAMILIES = {kind: family(kind) for kind in KINDS}


def _encoder(kind: str, policy: str) -> Encoder:
    if policy == "plain":
        return encoder(FAMILIES[kind], template="plain")
    return encoder(FAMILIES[kind], labels=policy)


@pytest.mark.parametrize("case", GOLDEN, ids="-".join)
def test_tokens_and_labels_are_the_golden_ones(case: tuple[str, str, str]) -> None:
    kind, policy, what = case
    media, turns = SHOWN[what]
    example = _encoder(kind, policy).encode(said(media, turns))
    assert marked(FAMILIES[kind], example.token_id_S, example.label_S) == GOLDEN[case]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompt", ["frames", "paper"])
@pytest.mark.parametrize("index", [(0, 1, 2), (2,), ()], ids=str)
def test_the_prompt_is_the_scorers_by_token_and_position(kind: str, prompt: str, index: tuple[int, ...]) -> None:
    of = FAMILIES[kind]
    whole = film(3)
    media = Media("video", whole.frames_THWC[list(index)], index, whole.times, film=whole.index)
    for turns in (TURNS, TALK):
        example = encoder(of, prompt=prompt).encode(said(media, turns))
        shown = of.shown(index, [i + 1 for i in index], media.times, headed=prompt == "frames")
        rows, columns = of.grid(of.pixel.tensor(whole.frames_THWC))
        prefix = of.prefix(shown, rows * columns, columns)
        (question, answer), history = turns[-1], turns[:-1]
        branch = of.branch(question, answer, history=history, headed=prompt == "frames", end=True)
        assert example.token_id_S.tolist() == [*prefix.token_id, *branch.token_id]
        last = example.label_S[-branch.n_target :]
        assert last.tolist() == list(branch.token_id[-branch.n_target :])
        np.testing.assert_array_equal(example.position_AS[:, : len(prefix)], prefix.position_AN)
        following = prefix.next_position + np.arange(len(branch.token_id))
        np.testing.assert_array_equal(example.position_AS[:, len(prefix) :], [following] * len(prefix.position_AN))


def test_llava_next_labels_are_those_of_the_original_code() -> None:
    """preprocess_qwen of LLaVA-NeXT, message by message, on the same template."""
    of = FAMILIES["qwen2_5_vl"]
    example = encoder(of, labels="llava_next").encode(said(None, TALK))
    tokenizer = of.tokenizer
    unmasked = [tokenizer.encode(t)[0] for t in ("\n", "<|im_start|>", "<|im_end|>")]
    said_by = [
        ("system", "You are a helpful assistant."),
        *(m for q, a in TALK for m in (("user", q), ("assistant", a))),
    ]
    ids: list[int] = []
    targets: list[int] = []
    for role, content in said_by:
        own = tokenizer.encode(f"<|im_start|>{role}\n{content}<|im_end|>\n")
        ids += own
        targets += own if role == "assistant" else [NO_LABEL] * len(own)
    targets = [i if i in unmasked else t for i, t in zip(ids, targets, strict=True)]
    assert example.token_id_S.tolist() == ids
    assert example.label_S.tolist() == [NO_LABEL, *targets[1:]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", ["assistant_only", "llava_next", "plain"])
def test_length_is_that_of_the_example(kind: str, policy: str) -> None:
    of, measure = FAMILIES[kind], _encoder(kind, policy)
    media = [film(3), film(4, index=(1, 3)), film(1, size_HW=(200, 30)), image((30, 90)), image((200, 60)), None]
    for shown in media[: 5 if policy == "plain" else None]:
        turns = TURNS if policy == "plain" else TALK
        example = measure.encode(said(shown, turns))
        length = measure.length(turns, shape_of(shown) if shown else None)
        marks = np.isin(example.token_id_S, [of.video_id, of.image_id])
        assert length.n_tokens == len(example.token_id_S) == example.position_AS.shape[1]
        assert (length.n_visual, length.n_labels) == (marks.sum(), (example.label_S != NO_LABEL).sum())
        assert length.n_tiles == (len(example.tiles.tiles_NHWC) if example.tiles else 0)


@pytest.mark.parametrize("size_HW", [(56, 56), (30, 30), (100, 70), (17, 200), (300, 310), (333, 40), (400, 400)])
def test_onevision_images_are_the_processors_and_the_classs(size_HW: tuple[int, int]) -> None:
    of = FAMILIES["llava_onevision"]
    shown = image(size_HW)
    example = encoder(of).encode(said(shown))
    assert example.tiles is not None
    processor = LlavaOnevisionImageProcessorPil(
        size={"height": SIDE_PX, "width": SIDE_PX}, image_grid_pinpoints=PINPOINTS
    )
    truth = processor(images=[shown.frames_THWC[0]], return_tensors="pt")
    pixels = of.pixel.normalise(example.tiles.tiles_NHWC)
    torch.testing.assert_close(pixels, truth["pixel_values"][0], atol=1e-6, rtol=0)
    (tokens,) = of.model.model.get_image_features(truth["pixel_values"], truth["image_sizes"]).pooler_output
    assert (example.token_id_S == of.image_id).sum() == len(tokens)


def test_an_image_of_one_tile_is_the_whole_picture_and_a_newline() -> None:
    of = FAMILIES["llava_onevision"]
    example = encoder(of, image_tiles=1).encode(said(image((300, 310))))
    assert example.tiles is not None
    assert example.tiles.tiles_NHWC.shape == (1, SIDE_PX, SIDE_PX, 3)
    assert (example.token_id_S == of.image_id).sum() == (SIDE_PX // 14) ** 2 + 1


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("size_HW", [(100, 70), (30, 200), (900, 1000), (2000, 1500)])
def test_qwen_images_are_the_processors(kind: str, size_HW: tuple[int, int]) -> None:
    """With as many pixels as nine frames may have."""
    of = FAMILIES[kind]
    factor, vision = of.pixel.factor_px, of.model.config.vision_config
    example = encoder(of).encode(said(image(size_HW)))
    most = min(9 * 256 * factor**2, of.pixel.image_pixels)
    processor = Qwen2VLImageProcessorPil(
        patch_size=vision.patch_size, size={"shortest_edge": of.pixel.min_pixels, "longest_edge": most}
    )
    _, rows, columns = processor(images=[image(size_HW).frames_THWC[0]], return_tensors="pt")["image_grid_thw"][
        0
    ].tolist()
    assert (example.token_id_S == of.image_id).sum() == rows * columns // 4
    ids = torch.from_numpy(example.token_id_S)[None]
    position, _ = of.model.model.get_rope_index(
        ids, (ids == of.image_id).int(), image_grid_thw=torch.tensor([[1, rows, columns]])
    )
    np.testing.assert_array_equal(example.position_AS, position[:, 0])


def test_what_cannot_be_trained_on_is_refused_by_name() -> None:
    of = FAMILIES["llava_onevision"]
    for text in ("<video> What?", "<image> What?"):
        with pytest.raises(NotSeparable, match="take it out"):
            encoder(of).encode(said(film(2), ((text, "This."),)))
    with pytest.raises(NotSeparable, match="take it out"):
        encoder(of, template="plain").encode(said(film(2), (("", "a <image> b"),)))
    for turns in ((), (("What?", ""),), (("What?", ""), ("And?", "This."))):
        with pytest.raises(NotSeparable, match="teaches nothing"):
            encoder(of).encode(said(film(2), turns))
    for media, turns in ((None, TURNS), (film(2), TALK)):
        with pytest.raises(NotSeparable, match="one caption of one picture"):
            encoder(of, template="plain").encode(said(media, turns))
    with pytest.raises(TooLong, match=r"\d+ tokens > 40"):
        encoder(of, max_length=40).encode(said(film(3)))
    with pytest.raises(TooLong, match="> 4096"):
        encoder(of).length((("What?", "moves " * 5000),), None)
    with pytest.raises(ValueError, match=r"image_tiles: 4, .* set it to 9, or to 1"):
        encoder(of, image_tiles=4)


def test_an_answer_that_the_template_rewrites_is_refused() -> None:
    of = family("qwen2_5_vl")
    template = of.tokenizer.chat_template
    of.tokenizer.chat_template = template.replace("{{ part.text }}", "{{ part.text | trim }}")
    with pytest.raises(NotSeparable, match="writes this answer otherwise"):
        encoder(of).encode(said(None, (("A?", " one "), ("B?", "two"))))
    of.tokenizer.chat_template = template.replace("<|im_start|>", "<|vision_start|>")
    with pytest.raises(ValueError, match="not ChatML; take assistant_only"):
        encoder(of, labels="llava_next")


def test_a_template_without_images_is_refused_by_name() -> None:
    of = family("llava_onevision")
    of.tokenizer.chat_template = of.tokenizer.chat_template.replace("<image>", "")
    encoder(of).encode(said(film(2)))
    with pytest.raises(ValueError, match="does not put the image's '<image>' once before the question"):
        encoder(of).encode(said(image(IMAGE_HW)))
