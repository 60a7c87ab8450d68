"""What a multimodal model is asked about a clip: a prompt that is a file, planned frames, a picture of each subject."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from string import Template

import numpy as np

from schemas.clip import CaptionedClip, Trajectory
from schemas.time import spread
from stages.algorithms.association import area
from stages.algorithms.crops import cut_out
from stages.algorithms.mllm_answer import Flaw, Flawed, Told, read_answer
from stages.algorithms.scene import Scene, name
from stages.caption_clip import scene_of
from stages.media.jpeg import jpeg
from stages.models.mllm import Answer, Mllm, NoAnswer, Question

PROMPTS = Path(__file__).parent / "prompts"
BLANKS = ("n_frames", "clip", "max_words", "subjects")  # what a prompt must name, as $n_frames ...
JPEG_QUALITY = 90
MARGIN = 0.15  # of a box, on each side of a subject's picture: some of what is around it
MIN_PICTURE_PX = 64  # shorter side of it: Qwen's processor refuses pictures under 28 px


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked about a clip, and what the answer must repeat."""

    question: Question
    mark: str  # of the clip: an answer without it belongs to another one
    track_ids: tuple[int, ...]
    max_words: int


@dataclass(frozen=True, slots=True)
class Said:
    """What came back."""

    told: Told | Flawed
    model: str  # as the endpoint names it
    prompt_tokens: int | None  # of all requests that it took; null where the endpoint does not count
    completion_tokens: int | None


@cache
def read_prompt(prompt: str) -> Template:
    """A prompt that comes with the project by name, or a .txt file by path; ValueError where it is none."""
    path = Path(prompt) if prompt.endswith(".txt") else PROMPTS / f"{prompt}.txt"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROMPTS.glob("*.txt")))
        raise ValueError(f"prompt: no file {path}; give the path of a .txt file or one of: {known}")
    template = Template(path.read_text(encoding="utf-8"))
    if not template.is_valid() or set(template.get_identifiers()) != set(BLANKS):
        wanted = ", ".join(f"${word}" for word in BLANKS)
        raise ValueError(f"prompt {path}: it must name {wanted} and nothing else with a $; a $ itself is written $$")
    return template


def prompt_hash(prompt: str) -> str:
    """Twelve digits of the hash of what a prompt says."""
    return hashlib.sha256(read_prompt(prompt).template.encode()).hexdigest()[:12]


def asked_about(
    clip: CaptionedClip, planned_THWC: np.ndarray, *, prompt: str, frames: int, max_subjects: int, max_words: int
) -> Asked:
    """The question: `frames` of the planned frames, and the `max_subjects` subjects that they show longest."""
    scene = scene_of(clip)
    longest = sorted(scene.tracks, key=lambda t: (-len(scene.seen(t)), t.track_id))[:max_subjects]
    tracks = [track for track in scene.tracks if track in longest]
    chosen = spread(len(planned_THWC), frames)
    mark = hashlib.sha256(clip.clip_id.encode()).hexdigest()[:8]
    parts: list[str | bytes] = [
        read_prompt(prompt).substitute(
            n_frames=len(chosen),
            clip=mark,
            max_words=max_words,
            subjects=", ".join(f"Track{track.track_id}" for track in tracks),
        )
    ]
    for k in chosen:
        parts += [f"frame{k + 1}, {scene.time(k + 1)}:", jpeg(planned_THWC[k], quality=JPEG_QUALITY)]
    for track in tracks:
        parts += _portrait(scene, track, planned_THWC)
    return Asked(Question(clip.clip_id, tuple(parts)), mark, tuple(track.track_id for track in tracks), max_words)


def said_of(mllm: Mllm, asked: Sequence[Asked]) -> list[Said | NoAnswer]:
    """What the model says of each, in order. An answer that is none is asked for once more, with what is wrong about
    it; a refusal is not: who asks again asks for a way around it."""
    said = [_read(one, answer) for one, answer in zip(asked, mllm.ask([one.question for one in asked]), strict=True)]
    flawed = [
        (k, got, got.told)
        for k, got in enumerate(said)
        if isinstance(got, Said) and isinstance(got.told, Flawed) and got.told.flaw != Flaw.REFUSED
    ]
    if flawed:
        answers = mllm.ask([_corrected(asked[k].question, flaw) for k, _, flaw in flawed])
        for (k, first, _), answer in zip(flawed, answers, strict=True):
            said[k] = _at_the_price_of_both(first, _read(asked[k], answer))
    return said


def _portrait(scene: Scene, track: Trajectory, planned_THWC: np.ndarray) -> list[str | bytes]:
    """What we call the subject, and its picture in the planned frame that shows it largest."""
    seen = scene.seen(track)
    k = max(seen, key=lambda frame: (area(seen[frame].box_xyxy_px), -frame))
    size_px = track.frame_width_px, track.frame_height_px
    picture_HWC = cut_out(planned_THWC[k - 1], seen[k].box_xyxy_px, size_px, margin=MARGIN, min_side_px=MIN_PICTURE_PX)
    text = f"Track{track.track_id} in frame{k}, called {name(track)!r}:"
    return [text, jpeg(picture_HWC, quality=JPEG_QUALITY)]


def _read(asked: Asked, answer: Answer | NoAnswer) -> Said | NoAnswer:
    if isinstance(answer, NoAnswer):
        return answer
    told = read_answer(
        answer.text,
        answer.finish_reason,
        answer.refusal,
        mark=asked.mark,
        track_ids=asked.track_ids,
        max_words=asked.max_words,
    )
    return Said(told, answer.model, answer.prompt_tokens, answer.completion_tokens)


def _corrected(question: Question, flawed: Flawed) -> Question:
    text = f"Your last answer cannot be used, it is {flawed.flaw}: {flawed.detail}. Answer again, as asked above."
    return replace(question, parts=(*question.parts, text))


def _at_the_price_of_both(first: Said, second: Said | NoAnswer) -> Said | NoAnswer:
    if isinstance(second, NoAnswer):
        return second
    return replace(
        second,
        prompt_tokens=_sum(first.prompt_tokens, second.prompt_tokens),
        completion_tokens=_sum(first.completion_tokens, second.completion_tokens),
    )


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b
