"""Let a language model say some of the questions in other words; answers, options and formats are not its business.

A wording is used where stages/algorithms/rewriting.py finds that it asks for the same, of the same; else the sample
stays as it was, and a Skip beside the clip says how many did and why. `utr verify` asks again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import Template
from typing import Any, ClassVar

from schemas.outcome import Reason, Skip
from schemas.sample import ComposedClip, Message, Sample
from stages.algorithms.draws import draws
from stages.algorithms.mllm_answer import EXCERPT, Flaw, Flawed
from stages.algorithms.question_words import PLAIN
from stages.algorithms.reworded_answer import read_reworded
from stages.algorithms.rewriting import VIDEO_MARK, kept, parted
from stages.base import Resources, Stage
from stages.caption_clip import scene_of
from stages.models.mllm import Answer, Mllm, MllmUnusable, NoAnswer, Question
from stages.models.named_mllm import NamedMllm
from stages.prompting import PROMPTS

PROMPT = PROMPTS / "reword.txt"
MAX_SHOWN = 3  # wordings that are not used, of those that a Skip shows


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions of a clip that are to be reworded, without their options and formats, and the request for it."""

    heads: tuple[str, ...]
    mark: str  # of the clip: an answer without it belongs to another one
    question: Question


@dataclass(frozen=True, kw_only=True)
class RewordSamples(NamedMllm, Stage[ComposedClip, ComposedClip, Mllm]):
    """Says a share of each clip's questions in other words, alike in all samples that ask them: also in twins.

    An answer that is none is asked for once more. A clip without one goes on in the composer's words.
    """

    options: Mapping[str, Any] = field(
        default_factory=lambda: {"temperature": 0, "max_tokens": 4000, "response_format": {"type": "json_object"}}
    )  # of the request; 4000 tokens: 60 questions of 60
    share: float = 0.5  # of a clip's different questions
    seed: int = 0

    version: ClassVar[int] = 1
    fatal = (MllmUnusable,)
    operational: ClassVar[frozenset[str]] = NamedMllm.reach

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ValueError(f"share={self.share:g}: above 0, at most 1; to reword nothing, leave the section out")

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        return self.needs

    @property
    def parameters(self) -> dict[str, Any]:
        """The model and the prompt by what they hold, wherever they lie."""
        return {**self.told_by, "share": self.share, "seed": self.seed, "prompt": prompt_hash()}

    def open(self) -> Mllm:
        """Raises MllmUnusable where no question could be answered."""
        return self.open_mllm(images=0)

    def close(self, mllm: Mllm) -> None:
        mllm.close()

    def process(self, mllm: Mllm, clips: Sequence[ComposedClip], /) -> list[ComposedClip | list[ComposedClip | Skip]]:
        """One request a clip, those of a batch together."""
        asked = {clip.clip_id: found for clip in clips if (found := self._asked(clip))}
        said = dict(zip(asked, _answers(mllm, list(asked.values())), strict=True))
        return [
            _reworded(clip, asked[clip.clip_id].heads, *said[clip.clip_id]) if clip.clip_id in asked else clip
            for clip in clips
        ]

    def _asked(self, clip: ComposedClip) -> Asked | None:
        heads = list(dict.fromkeys(parted(text)[0] for sample in clip.samples for text in _questions(sample)))
        rng = draws(self.seed, f"{clip.clip_id}/reword")
        chosen = tuple(head for head, drawn in zip(heads, rng.random(len(heads)), strict=True) if drawn < self.share)
        if not chosen:
            return None
        mark = hashlib.sha256(clip.clip_id.encode()).hexdigest()[:8]
        text = Template(PROMPT.read_text(encoding="utf-8")).substitute(
            n=len(chosen), clip=mark, words=" ".join(sorted(PLAIN)), questions=json.dumps(chosen, indent=0)
        )
        return Asked(chosen, mark, Question(clip.clip_id, (text,)))


def prompt_hash() -> str:
    """Twelve digits of the hash of what the prompt says, words that may be used included."""
    return hashlib.sha256(f"{PROMPT.read_text(encoding='utf-8')}{sorted(PLAIN)}".encode()).hexdigest()[:12]


def _questions(sample: Sample) -> list[str]:
    """What the composer asks; who came with a question of his own has chosen its words."""
    if sample.family == "given":
        return []
    return [m.content.removeprefix(VIDEO_MARK) for m in sample.messages if m.role == "user"]


Said = tuple[tuple[str, ...] | Flawed | NoAnswer, str]  # and by whom


def _answers(mllm: Mllm, asked: Sequence[Asked]) -> list[Said]:
    """What the model says, in order. An answer that is none is asked for once more, with what is wrong about it; a
    refusal is not: who asks again asks for a way around it."""
    said = [_read(one, got) for one, got in zip(asked, mllm.ask([one.question for one in asked]), strict=True)]
    again = [
        (k, replace(asked[k].question, parts=(*asked[k].question.parts, _correction(got))))
        for k, (got, _) in enumerate(said)
        if isinstance(got, Flawed) and got.flaw != Flaw.REFUSED
    ]
    if again:
        for (k, _), got in zip(again, mllm.ask([question for _, question in again]), strict=True):
            said[k] = _read(asked[k], got)
    return said


def _read(asked: Asked, got: Answer | NoAnswer) -> Said:
    if isinstance(got, NoAnswer):
        return got, "mllm"
    read = read_reworded(got.text, got.finish_reason, got.refusal, mark=asked.mark, n=len(asked.heads))
    return read, f"mllm/{got.model}@{prompt_hash()}"


def _correction(flawed: Flawed) -> str:
    return f"Your last answer cannot be used, it is {flawed.flaw}: {flawed.detail}. Answer again, as asked above."


def _reworded(
    clip: ComposedClip, heads: Sequence[str], said: tuple[str, ...] | Flawed | NoAnswer, by: str
) -> ComposedClip | list[ComposedClip | Skip]:
    """The clip in the words that may be used; beside it, as a Skip, those that may not, and why."""
    if isinstance(said, NoAnswer):
        return [clip, Skip(Reason.NOTHING_TO_SAY, f"{len(heads)} questions not reworded, no answer: {said}")]
    if isinstance(said, Flawed):
        reason = Reason.TOO_LONG if said.flaw == Flaw.CUT else Reason.NOTHING_TO_SAY
        return [clip, Skip(reason, f"{len(heads)} questions not reworded, {said.flaw}: {said.detail}; {by}")]
    names = scene_of(clip).names
    judged = [(head, words, kept(head, words, names)) for head, words in zip(heads, said, strict=True)]
    wordings = {head: words for head, words, why in judged if why is None}
    row = replace(clip, samples=tuple(_in_words(sample, wordings, by) for sample in clip.samples))
    bad = [f"{words[:EXCERPT]!r} for {head[:EXCERPT]!r}: {why}" for head, words, why in judged if why]
    if not bad:
        return row
    shown = "; ".join(bad[:MAX_SHOWN])
    return [row, Skip(Reason.NOTHING_TO_SAY, f"{len(bad)} of {len(heads)} rewordings not used by {by}: {shown}")]


def _in_words(sample: Sample, wordings: Mapping[str, str], by: str) -> Sample:
    """The sample with its questions in these words, by what they are without options and formats."""
    if sample.family == "given":
        return sample
    messages = tuple(_message(m, wordings) if m.role == "user" else m for m in sample.messages)
    return sample if messages == sample.messages else replace(sample, messages=messages, reworded_by=by)


def _message(message: Message, wordings: Mapping[str, str]) -> Message:
    question = message.content.removeprefix(VIDEO_MARK)
    head, tail = parted(question)
    start = message.content.removesuffix(question)
    return replace(message, content=f"{start}{wordings.get(head, head)}{tail}")
