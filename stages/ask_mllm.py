"""Ask a multimodal model about a clip: a caption in its own words, and whether each subject is what we call it.

What it says proves nothing, so no composed question or answer holds a word of it. Its caption stands beside ours like
one that came with the video, and is measured by TPL alike; where it doubts a subject's name, the label risk of that
subject becomes 1, and the composer abstains from it. An answer that is none costs the clip nothing: it goes on as it
was, with a Skip beside it that says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from schemas.clip import Caption, CaptionedClip, ToldClip, ToldSubject
from schemas.outcome import Reason, Skip
from stages.algorithms.mllm_answer import Flaw, Flawed
from stages.algorithms.scene import name
from stages.base import Resources, Stage
from stages.media.child import Limits
from stages.media.frame_store import STORE_DIR, STORE_GB, ClipFrames
from stages.models.mllm import Mllm, MllmUnusable, NoAnswer
from stages.models.named_mllm import NamedMllm
from stages.prompting import Asked, Said, asked_about, prompt_hash, read_prompt, said_of

DOUBTED = 1.0  # label risk of a subject that the model calls something else
REASONS = {
    Flaw.EMPTY: Reason.NOTHING_TO_SAY,
    Flaw.REFUSED: Reason.NOTHING_TO_SAY,
    Flaw.MALFORMED: Reason.NOTHING_TO_SAY,
    Flaw.OTHER_CLIP: Reason.NOTHING_TO_SAY,
    Flaw.OTHER_SUBJECTS: Reason.NOTHING_TO_SAY,
    Flaw.CUT: Reason.TOO_LONG,
    Flaw.TOO_LONG: Reason.TOO_LONG,
}


@dataclass(frozen=True, slots=True)
class Line:
    """What a worker asks with. `kept` holds what was paid for in a batch that had a failure, until its rows are tried
    alone."""

    mllm: Mllm
    frames: ClipFrames
    kept: dict[str, Said | NoAnswer] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AskMllm(NamedMllm, Stage[CaptionedClip, ToldClip, Line]):
    """Adds what a multimodal model says of a clip. One that came with its own caption is not asked about.

    An answer that is not what was asked for is asked for once more, with what is wrong about it.
    """

    prompt: str = "clip"  # a file of stages/prompts, or the path of a .txt file of your own
    frames: int = 4  # of the plan, spread over the clip
    max_subjects: int = 6  # those seen longest
    max_words: int = 60  # of a caption: the scorer must be able to read it
    store_dir: str = STORE_DIR
    store_gb: float = STORE_GB

    version: ClassVar[int] = 1
    fatal = (MllmUnusable,)
    counts: ClassVar[tuple[str, ...]] = ("prompt_tokens", "completion_tokens")
    operational: ClassVar[frozenset[str]] = NamedMllm.reach | {"store_dir", "store_gb"}

    def __post_init__(self) -> None:
        super().__post_init__()
        for what in ("frames", "max_subjects", "max_words"):
            if getattr(self, what) < 1:
                raise ValueError(f"{what}={getattr(self, what)}: at least 1 is asked for")
        _ = read_prompt(self.prompt)

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        return self.needs

    @property
    def parameters(self) -> dict[str, Any]:
        """The model and the prompt by what they hold, wherever they lie."""
        own = {name: getattr(self, name) for name in ("frames", "max_subjects", "max_words")}
        return {**self.told_by, **own, "prompt": prompt_hash(self.prompt)}

    def open(self) -> Line:
        """Raises MllmUnusable where no question could be answered."""
        mllm = self.open_mllm(images=self.frames + self.max_subjects)
        return Line(mllm, ClipFrames(self.store_dir, self.store_gb, Limits()))

    def close(self, line: Line) -> None:
        line.mllm.close()
        line.frames.close()

    def process(self, line: Line, clips: Sequence[CaptionedClip], /) -> list[ToldClip | list[ToldClip | Skip]]:
        """Raises NoAnswer where a clip got none; what was said of the others is kept for when they are tried alone."""
        new = [clip for clip in clips if not is_captioned(clip) and clip.clip_id not in line.kept]
        said = said_of(line.mllm, [self._asked(line, clip) for clip in new])
        line.kept.update(zip((clip.clip_id for clip in new), said, strict=True))
        failures = [got for c in clips if isinstance(got := line.kept.get(c.clip_id), NoAnswer)]
        if failures and len(clips) > 1:
            raise failures[0]
        return [self._told(clip, line.kept.pop(clip.clip_id, None)) for clip in clips]

    def _asked(self, line: Line, clip: CaptionedClip) -> Asked:
        return asked_about(
            clip,
            line.frames.plan(clip),
            prompt=self.prompt,
            frames=self.frames,
            max_subjects=self.max_subjects,
            max_words=self.max_words,
        )

    def _told(self, clip: CaptionedClip, said: Said | NoAnswer | None) -> ToldClip | list[ToldClip | Skip]:
        """The clip with what was said of it; beside it, as a Skip, what of that is not used and why."""
        if isinstance(said, NoAnswer):
            raise said
        if said is None:
            return clip.extend(ToldClip, teller=None, told=(), prompt_tokens=None, completion_tokens=None)
        teller = f"mllm/{said.model}@{prompt_hash(self.prompt)}"
        cost = {"prompt_tokens": said.prompt_tokens, "completion_tokens": said.completion_tokens}
        if isinstance(said.told, Flawed):
            spent = f"{teller}, {said.prompt_tokens} + {said.completion_tokens} tokens"
            skip = Skip(REASONS[said.told.flaw], f"{said.told.flaw}: {said.told.detail}; {spent}")
            return [clip.extend(ToldClip, teller=teller, told=(), **cost), skip]
        told = tuple(
            ToldSubject(track_id=s.track, name=s.name, attributes=s.attributes, fits=s.fits) for s in said.told.subjects
        )
        caption = Caption(kind="given", text=said.told.caption, describer=teller)
        doubted = {s.track_id: s.name for s in told if not s.fits}
        paths = tuple(replace(t, risk=DOUBTED) if t.track_id in doubted else t for t in clip.trajectories)
        row = replace(clip, captions=(*clip.captions, caption), trajectories=paths)
        out = row.extend(ToldClip, teller=teller, told=told, **cost)
        if not doubted:
            return out
        names = {t.track_id: name(t) for t in paths}
        why = "; ".join(f"Track{k} is no {names[k]!r} but {seen!r}" for k, seen in doubted.items())
        return [out, Skip(Reason.LABEL_RISK, f"{teller} says: {why}")]


def is_captioned(clip: CaptionedClip) -> bool:
    """Whether a caption came with the clip: somebody's words stand, and a second such caption would share its name."""
    return any(caption.kind == "given" for caption in clip.captions)
