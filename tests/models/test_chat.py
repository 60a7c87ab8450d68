"""Prompts by ids: what is read in parts is what the checkpoint's template and processor write as a whole."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

from pipeline.shapes.vocabulary import CHAT
from stages.algorithms.prompt import header
from stages.models.chat import Chat
from stages.models.family import Shown
from stages.models.load import FAMILIES
from stages.models.protocols import NotSeparable
from tests.models.tiny import KINDS, ONEVISION, PARTS, SYSTEM, tokenizer

TEMPLATES = {"llava_onevision": ONEVISION, "qwen2_5_vl": SYSTEM + PARTS, "qwen3_vl": PARTS}
TIMES = ["0.00 s", "0.70 s", "1.40 s"]
TIMES_S = (0.0, 0.7, 1.4)
GRID = (2, 3)
HISTORY = (("Who is there?", "A green square."), ("Sure?", "Yes."))
MARKS = {"llava_onevision": "<video>"}


def _chat(kind: str, template: str | None = None) -> Chat:
    family = FAMILIES[kind]
    return Chat(tokenizer(template or TEMPLATES[kind]), mark=family.mark, wrapped=family.wrapped, bare=family.bare)


def _family(kind: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A family without a model: its prompts alone."""
    family: Any = FAMILIES[kind].__new__(FAMILIES[kind])
    family.chat = _chat(kind)
    family.tokenizer = family.chat._tokenizer
    family.video_id = family.chat.ids(family.mark)[0]
    monkeypatch.setattr(type(family), "positions", lambda self, ids, *_: (torch.arange(len(ids))[None], len(ids)))
    return family


def _messages(index: tuple[int, ...], head: str, answer: str) -> list[dict[str, Any]]:
    """The conversation as anybody would write it for transformers."""
    turns = [*(t for q, a in HISTORY for t in (("user", q), ("assistant", a))), ("user", "And where?")]
    messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in turns]
    messages[0]["content"][0]["text"] = head + turns[0][1]
    if index:
        messages[0]["content"].insert(0, {"type": "video"})
    return [*messages, {"role": "assistant", "content": [{"type": "text", "text": answer}]}]


def _expanded(kind: str, index: tuple[int, ...]) -> str:
    """What the checkpoint's processor writes for a video; Qwen3-VL's from its own code."""
    p = GRID[0] * GRID[1]
    pairs = -(-len(index) // 2)
    if kind == "llava_onevision":
        return "<video>" * (len(index) * p + 1)
    if kind == "qwen2_5_vl":
        return "<|video_pad|>" * (pairs * p)
    processor = SimpleNamespace(
        video_processor=SimpleNamespace(merge_size=2, temporal_patch_size=2),
        video_token="<|video_pad|>",
        vision_start_token="<|vision_start|>",
        vision_end_token="<|vision_end|>",
        _calculate_timestamps=lambda *a: Qwen3VLProcessor._calculate_timestamps(SimpleNamespace(), *a),  # type: ignore[arg-type]
    )
    inputs = {
        "video_grid_thw": torch.tensor([[pairs, 2 * GRID[0], 2 * GRID[1]]]),
        "video_metadata": [SimpleNamespace(fps=1 / 0.7, frames_indices=list(index))],
    }
    return Qwen3VLProcessor.replace_video_token(processor, inputs, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("index", [(0, 1, 2), (1,), (), (2, 0), (2, 2, 1)], ids=str)
def test_parts_are_the_whole_rendered_conversation(
    kind: str, index: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    family = _family(kind, monkeypatch)
    said = header([i + 1 for i in index], TIMES)
    prefix = family.prefix(Shown(index, said, tuple(TIMES_S[i] for i in index)), GRID[0] * GRID[1], GRID[1])
    branch = family.branch("And where?", "At the top left.", history=HISTORY)
    asked = family.tokenizer.apply_chat_template(
        _messages(index, said + "\n", "")[:-1], tokenize=False, add_generation_prompt=True
    )
    whole = asked.replace(family.mark, _expanded(kind, index) if index else "") + "At the top left."
    assert [*prefix.token_id, *branch.token_id] == family.chat.ids(whole)
    assert family.tokenizer.decode(branch.token_id[-branch.n_target :]) == "At the top left."
    assert prefix.token_id.count(family.video_id) == (_expanded(kind, index).count(family.mark) if index else 0)


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
def test_the_answer_stands_where_the_template_writes_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole template with the answer in it begins with what is scored, token by token."""
    family = _family(kind, monkeypatch)
    prefix = family.prefix(Shown((), "0 frames"), 1)
    branch = family.branch("And where?", "At the top left.", history=HISTORY)
    whole = family.tokenizer.apply_chat_template(
        _messages((), "0 frames\n", "At the top left."), tokenize=True, return_dict=False
    )
    ids = [*prefix.token_id, *branch.token_id]
    assert whole[: len(ids)] == ids
    assert whole[len(ids)] == family.tokenizer.eos_token_id


def test_paper_prompt_says_nothing_of_the_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    family = _family("qwen2_5_vl", monkeypatch)
    text = family.tokenizer.decode(family.prefix(Shown((1,), ""), 1).token_id)
    assert text.endswith("<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>")
    paper, frames = (family.branch("Where?", "Here.", headed=headed) for headed in (False, True))
    assert paper == frames


def test_plain_templates_hold_the_mark_in_the_text() -> None:
    chat = _chat("llava_onevision", CHAT)
    assert chat.around("1 frame\n", video=True) == ("<|im_start|>user\n", "\n1 frame\n")
    assert chat.around("0 frames\n", video=False) == ("", "<|im_start|>user\n\n0 frames\n")


def test_texts_that_melt_into_the_prompt_are_refused() -> None:
    melts = tokenizer(PARTS)
    pieces = melts.backend_tokenizer
    assert len(melts.encode("\n\n")) == 2  # this small vocabulary has no token of two newlines
    melts.add_tokens(["\n\n"])
    assert pieces.token_to_id("\n\n") is not None
    family = FAMILIES["qwen3_vl"]
    chat = Chat(melts, mark=family.mark, wrapped=family.wrapped, bare=family.bare)
    heads = ("1 frame\n", "0 frames\n")
    assert chat.branch(heads, (), "Where?", "Here.")[1] > 0
    for question, answer in (("\nWhere?", "Here."), ("Where?", "\nHere.")):
        with pytest.raises(NotSeparable, match="strip them"):
            chat.branch(heads, (), question, answer)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "once before the question"),
        (PARTS.replace("assistant\\n' }}{% endif", "assistant\\n<think>\\n' }}{% endif"), "think aloud"),
        (None, "no chat template"),
    ],
)
def test_templates_that_cannot_be_used_are_refused(template: str | None, why: str) -> None:
    tok = tokenizer(PARTS)
    tok.chat_template = template
    family = FAMILIES["qwen3_vl"]
    with pytest.raises(ValueError, match=why):
        Chat(tok, mark=family.mark, wrapped=family.wrapped, bare=family.bare)


def test_two_beginnings_of_a_sequence_are_refused() -> None:
    tok = tokenizer("{{ '<image><image>' }}" + PARTS)
    tok.bos_token = "<image>"
    family = FAMILIES["qwen3_vl"]
    with pytest.raises(ValueError, match="more than once"):
        Chat(tok, mark=family.mark, wrapped=family.wrapped, bare=family.bare)
