"""Records as trainers read them, and the files that they lie in."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

VIDEO = "<video>\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One conversation about the frames that a trainer shows."""

    sample_id: str
    split: str
    location: str
    span_s: tuple[float, float] | None  # of the film; None for all of it
    sampling: dict[str, float]  # what the loader is told in the row itself, where rows can say it
    question: str
    answer: str
    reward: str  # JSON
    program: str  # JSON; its frames are numbers of those shown
    frame_tick: tuple[int, ...]  # those shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """A trainer's loader and the shape of its records."""

    can_cut: bool  # a clip out of a longer film
    rows_tell: bool  # how many frames to show; else its command line must
    tells_time: bool  # to the model, by counting frames at the average rate
    decoder: str  # "decord" | "pyav"
    suffix: str
    record: Callable[[Exported], dict[str, Any]]
    prompt: Callable[[Exported], dict[str, Any]] | None  # for RL; None where the trainer has no such form
    settings: str  # with which the frames are those of the texts


def _llava(row: Exported) -> dict[str, Any]:
    """LLaVA marks a film by `<image>`; `<video>` would be five words to it, and the film unseen."""
    return {
        "id": row.sample_id,
        "video": row.location,
        "conversations": [
            {"from": "human", "value": f"<image>\n{row.question}"},
            {"from": "gpt", "value": row.answer},
        ],
    }


def _sharegpt(row: Exported) -> dict[str, Any]:
    turns = [{"from": "human", "value": VIDEO + row.question}, {"from": "gpt", "value": row.answer}]
    return {"id": row.sample_id, "conversations": turns, "videos": [row.location]}


def _swift(row: Exported) -> dict[str, Any]:
    messages = [{"role": "user", "content": VIDEO + row.question}, {"role": "assistant", "content": row.answer}]
    return _swift_with(row, messages)


def _swift_prompt(row: Exported) -> dict[str, Any]:
    return _swift_with(row, [{"role": "user", "content": VIDEO + row.question}]) | _solution(row)


def _swift_with(row: Exported, messages: list[dict[str, str]]) -> dict[str, Any]:
    told = {**row.sampling, **_span(row)}
    return {"id": row.sample_id, "messages": messages, "videos": [row.location], "chat_template_kwargs": told}


def _qwen(row: Exported) -> dict[str, Any]:
    return {"id": row.sample_id, "messages": [_qwen_question(row), _says("assistant", row.answer)]}


def _qwen_prompt(row: Exported) -> dict[str, Any]:
    return {"id": row.sample_id, "prompt": [_qwen_question(row)], **_solution(row)}


def _qwen_question(row: Exported) -> dict[str, Any]:
    film = {"type": "video", "video": row.location, **row.sampling, **_span(row)}
    return {"role": "user", "content": [film, {"type": "text", "text": row.question}]}


def _hf(row: Exported) -> dict[str, Any]:
    return {"id": row.sample_id, "messages": [_hf_question(row), _says("assistant", row.answer)]}


def _hf_prompt(row: Exported) -> dict[str, Any]:
    return {"id": row.sample_id, "prompt": [_hf_question(row)], **_solution(row)}


def _hf_question(row: Exported) -> dict[str, Any]:
    content = [{"type": "video", "path": row.location}, {"type": "text", "text": row.question}]
    return {"role": "user", "content": content}


def _says(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def _span(row: Exported) -> dict[str, float]:
    return {"video_start": row.span_s[0], "video_end": row.span_s[1]} if row.span_s else {}


def _solution(row: Exported) -> dict[str, str]:
    return {"solution": row.answer, "reward": row.reward}


TRAINERS = {
    "llava-next": Trainer(
        can_cut=False, rows_tell=False, tells_time=False, decoder="decord", suffix=".json", record=_llava, prompt=None,
        settings="--frames_upbound {frames} --video_fps {fps} --add_time_instruction False --force_sample False",
    ),
    "llava-onevision": Trainer(
        can_cut=False, rows_tell=False, tells_time=False, decoder="pyav", suffix=".jsonl", record=_hf,
        prompt=_hf_prompt,
        settings="processor.apply_chat_template(..., do_sample_frames=True, {sampling})",
    ),
    "qwen-vl": Trainer(
        can_cut=True, rows_tell=True, tells_time=True, decoder="decord", suffix=".jsonl", record=_qwen,
        prompt=_qwen_prompt,
        settings="qwen_vl_utils.process_vision_info(messages): each row says its frames",
    ),
    "llama-factory": Trainer(
        can_cut=False, rows_tell=False, tells_time=True, decoder="pyav", suffix=".json", record=_sharegpt, prompt=None,
        settings="video_maxlen: {frames}, video_fps: {fps}",
    ),
    "ms-swift": Trainer(
        can_cut=True, rows_tell=True, tells_time=True, decoder="decord", suffix=".jsonl", record=_swift,
        prompt=_swift_prompt,
        settings="a Qwen-VL template: each row says its frames in chat_template_kwargs",
    ),
}  # fmt: skip


def files(name: str, rows: Sequence[Exported], *, rl: bool) -> dict[str, str]:
    """The data set's files by name: one a split, and what the trainer wants beside them."""
    trainer = TRAINERS[name]
    shape = trainer.prompt if rl else trainer.record
    if shape is None:
        raise ValueError(f"{name} has no form for RL")
    found: dict[str, str] = {}
    for split in sorted({row.split for row in rows}):
        records = [json.dumps(shape(row), ensure_ascii=False) for row in rows if row.split == split]
        text = "[\n" + ",\n".join(records) + "\n]\n" if trainer.suffix == ".json" else "\n".join(records) + "\n"
        found[f"{split}{trainer.suffix}"] = text
    if name == "llama-factory":
        columns = {"messages": "conversations", "videos": "videos"}
        info = {
            f"utr_{file.removesuffix('.json')}": {"file_name": file, "formatting": "sharegpt", "columns": columns}
            for file in found
        }
        found["dataset_info.json"] = json.dumps(info, indent=1) + "\n"
    return found
