"""Answers against transformers' own `generate` on public inputs, token by token; text is never half a letter."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.algorithms.prompt import header
from stages.algorithms.tpl import VIDEO, Context
from stages.models.answer import Words, answer, end_marks, prompt, write
from stages.models.load import load_scorer
from stages.models.protocols import NotSeparable, TooLong
from stages.models.reference import Reference
from stages.models.transformers_scorer import TransformersScorer
from tests.models.tiny import KINDS, checkpoint, tokenizer

N_FRAMES = 5  # odd: the last one is its own neighbour where pairs are merged
TIMES = [f"{0.7 * k:.2f} s" for k in range(N_FRAMES)]
QUESTIONS = ("What happens in this video?", "Where is it?", "Why is this funny?")
NEW = 24


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: checkpoint(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.fixture(params=KINDS)
def scorer(request: pytest.FixtureRequest, folders: dict[str, Path]) -> TransformersScorer:
    return load_scorer(str(folders[request.param]))


@pytest.fixture(scope="module")
def frames_THWC() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (N_FRAMES, 60, 90, 3), dtype=np.uint8)


def ours(scorer: TransformersScorer, frames_THWC: np.ndarray, question: str, new: int = NEW) -> list[int]:
    asked = prompt(scorer.watch(frames_THWC, TIMES), question)
    return list(write(scorer.family, asked, max_new_tokens=new))


def generated(
    scorer: TransformersScorer, frames_THWC: np.ndarray, question: str, *, headed: bool = True, new: int = NEW
) -> list[int]:
    """By the checkpoint's own class, its prompt written out whole."""
    family: Any = scorer.family
    every = Context(VIDEO, None, tuple(range(N_FRAMES)))
    video = Reference(family, frames_THWC, TIMES, headed=headed)._video(every)
    head = header(every.names, TIMES) + "\n" if headed else ""
    text = family.chat.asked(head, (), question, video=True).replace(family.chat.mark, video.text)
    ids = torch.tensor([family.ids(text)])
    if "video_grid_thw" in video.inputs:
        video.inputs["mm_token_type_ids"] = (ids == family.video_id).int() * 2
    with torch.inference_mode():
        out = family.model.generate(input_ids=ids, **video.inputs, do_sample=False, max_new_tokens=new)
    return out[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("question", QUESTIONS)
def test_equals_generate(scorer: TransformersScorer, frames_THWC: np.ndarray, question: str) -> None:
    said = ours(scorer, frames_THWC, question)
    assert said == generated(scorer, frames_THWC, question)
    assert len(said) == NEW
    assert len(set(said)) > 1  # no constant; random weights soon go in circles


def test_the_answer_depends_on_the_frames(scorer: TransformersScorer, frames_THWC: np.ndarray) -> None:
    assert ours(scorer, frames_THWC, QUESTIONS[0]) != ours(scorer, 255 - frames_THWC, QUESTIONS[0])


def test_equals_generate_in_the_papers_prompt(scorer: TransformersScorer, frames_THWC: np.ndarray) -> None:
    paper = TransformersScorer(scorer.family, None, "tiny", prompt="paper")
    said = ours(paper, frames_THWC, QUESTIONS[0])
    assert said == generated(paper, frames_THWC, QUESTIONS[0], headed=False)


def test_a_repetition_penalty_of_the_checkpoint_holds(scorer: TransformersScorer, frames_THWC: np.ndarray) -> None:
    free = ours(scorer, frames_THWC, QUESTIONS[0])
    scorer.family.model.generation_config.repetition_penalty = 1.5
    said = ours(scorer, frames_THWC, QUESTIONS[0])
    assert said != free
    assert len(set(said)) > NEW // 3  # no circle, so that a wrong place would show
    assert said == generated(scorer, frames_THWC, QUESTIONS[0])


def test_ends_with_the_generation_configs_mark(scorer: TransformersScorer, frames_THWC: np.ndarray) -> None:
    free = ours(scorer, frames_THWC, QUESTIONS[0])
    at = next(k for k, i in enumerate(free) if k >= 3 and i not in free[:k])
    scorer.family.model.generation_config.eos_token_id = [1, free[at]]
    said = ours(scorer, frames_THWC, QUESTIONS[0])
    assert said == free[: at + 1] == generated(scorer, frames_THWC, QUESTIONS[0])


def test_end_marks_are_the_configs_and_the_templates(scorer: TransformersScorer) -> None:
    family = scorer.family
    family.model.generation_config.eos_token_id = 7
    assert family.ids("<|im_end|>") == [2]
    assert end_marks(family) == {2, 7}
    family.tokenizer.eos_token = "<|endoftext|>"
    assert end_marks(family) == {0, 2, 7}  # 2: as the template ends an answer


def test_what_leaves_no_room_is_refused(scorer: TransformersScorer, frames_THWC: np.ndarray) -> None:
    with pytest.raises(TooLong, match="no room for an answer in 4096"):
        ours(scorer, frames_THWC, "What? " * 4096)
    with pytest.raises(NotSeparable):
        ours(scorer, frames_THWC, f"What is {scorer.family.mark}?")


def test_writes_up_to_the_models_limit(scorer: TransformersScorer, frames_THWC: np.ndarray) -> None:
    length = len(prompt(scorer.watch(frames_THWC, TIMES), QUESTIONS[0]).prefix)
    scorer.family.model.config.text_config.max_position_embeddings = length + 5
    assert len(ours(scorer, frames_THWC, QUESTIONS[0])) == 5


def test_text_of_the_answer_is_that_of_its_tokens(scorer: TransformersScorer, frames_THWC: np.ndarray) -> None:
    watched = scorer.watch(frames_THWC, TIMES)
    ids = ours(scorer, frames_THWC, QUESTIONS[0])
    assert answer(watched, QUESTIONS[0], max_new_tokens=NEW) == decoded(scorer.family.tokenizer, ids)


def decoded(tok: Any, ids: list[int]) -> str:
    return tok.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("text", ["naïve — 猫が笑う 🐈‍⬛!", "e\u0301 and \U0001f468\u200d\U0001f469", "plain words\n"])
def test_no_half_character_is_said(text: str) -> None:
    tok = tokenizer("")
    ids = tok.encode(text, add_special_tokens=False)
    words = Words(tok)
    pieces = [words.add(i) for i in ids]
    assert "\ufffd" not in "".join(pieces)
    assert "".join([*pieces, words.end()]) == text
    if not text.isascii():
        assert "" in pieces  # a letter of several tokens was held back


def test_any_tokens_add_up_to_their_text() -> None:
    tok = tokenizer("")
    rng = np.random.default_rng(1)
    for _ in range(50):
        ids = [int(i) for i in rng.integers(0, len(tok), 30)]
        words = Words(tok)
        assert "".join([*(words.add(i) for i in ids), words.end()]) == decoded(tok, ids)


def test_half_a_character_at_the_end_is_said_at_last() -> None:
    tok = tokenizer("")
    ids = tok.encode("ok 猫", add_special_tokens=False)[:-1]
    words = Words(tok)
    assert "".join(words.add(i) for i in ids) == "ok "
    assert words.end() == "\ufffd"
