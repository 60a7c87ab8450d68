"""Clocks of thinned films, texts without a medium, and end marks: where a prompt could differ from what is asked."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.shapes.vocabulary import CHAT
from pipeline.train.example import Example, Media
from tests.train.model_kit import TALK, TURNS, encoder, family, film, marked, said


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("prompt", ["frames", "paper"])
def test_a_thinned_film_has_the_clock_of_a_plan_of_its_own(kind: str, prompt: str) -> None:
    of = family(kind)
    thinned = film(16, index=(1, 5, 9, 13))
    own = Media("video", thinned.frames_THWC, (0, 1, 2, 3), tuple(thinned.times[k] for k in thinned.index))
    whole = replace(thinned, film=tuple(range(16)))
    examples = [encoder(of, prompt=prompt).encode(said(media)) for media in (thinned, own, whole)]
    read = [(e.position_AS[:, e.token_id_S == of.video_id], _upto_header(of, e)) for e in examples]
    np.testing.assert_array_equal(read[0][0], read[1][0])
    assert read[0][1] == read[1][1]
    if kind == "qwen2_5_vl":
        assert not np.array_equal(read[0][0], read[2][0])  # on the plan's clock
    elif prompt == "paper":
        assert read[0][1] != read[2][1]
    if prompt == "paper":
        np.testing.assert_array_equal(examples[0].token_id_S, examples[1].token_id_S)
        np.testing.assert_array_equal(examples[0].position_AS, examples[1].position_AS)


def _upto_header(of: Any, example: Example) -> str:
    """What stands before the names of frames: with Qwen3-VL, the times that it writes itself."""
    return marked(of, example.token_id_S, example.label_S).partition("4 frames: ")[0]


@pytest.mark.parametrize("turns", [TURNS, TALK])
def test_a_text_is_what_the_tokenizers_own_template_writes(turns: Any) -> None:
    """In plain messages, too, as of a model that is built from parts: no newline is left of a video's wrapping."""
    of = family("llava_onevision")
    of.tokenizer.chat_template = "{{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}" + CHAT
    of = type(of)(of.model, of.tokenizer, of.pixel)
    messages = [{"role": r, "content": t} for turn in turns for r, t in zip(("user", "assistant"), turn, strict=True)]
    whole = of.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert encoder(of, labels="llava_next").encode(said(None, turns)).token_id_S.tolist() == whole
    upto_end = encoder(of).encode(said(None, turns)).token_id_S.tolist()
    assert [*upto_end, *of.ids("\n")] == whole
    assert of.tokenizer.decode(upto_end).startswith(
        f"<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\n{turns[0][0]}<|im_end|>"
    )


def test_a_template_without_the_tokenizers_end_mark_is_refused_by_name() -> None:
    of = family("llava_onevision")
    of.tokenizer.eos_token = "<|endoftext|>"  # as of a base model
    for labels in ("assistant_only", "llava_next"):
        with pytest.raises(ValueError, match=r"writes '<\|im_end\|>' behind an answer, not .* '<\|endoftext\|>': set"):
            encoder(of, labels=labels)
    encoder(of, template="plain").encode(said(film(2)))
