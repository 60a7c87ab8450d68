"""What a model says when it is asked to reword questions. Read strictly: all of them, in order, or no answer."""

from pydantic import BaseModel, ConfigDict, ValidationError

from stages.algorithms.mllm_answer import EXCERPT, Flaw, Flawed


class Reworded(BaseModel):
    """An answer in the form that stages/prompts/reword.txt asks for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    clip: str
    questions: tuple[str, ...]


def read_reworded(text: str, finish_reason: str, refusal: str, *, mark: str, n: int) -> tuple[str, ...] | Flawed:
    """The `n` questions in other words, or why the answer is none. `mark` is what the model was told to repeat."""
    if refusal or finish_reason == "content_filter":
        return Flawed(Flaw.REFUSED, (refusal or text)[:EXCERPT] or "by a content filter")
    try:
        said = Reworded.model_validate_json(text)
    except ValidationError as error:
        detail = f"{error.errors()[0]['msg']}, finish_reason {finish_reason!r}, in {text[:EXCERPT]!r}"
        flaw = Flaw.CUT if finish_reason == "length" else Flaw.MALFORMED if text.strip() else Flaw.EMPTY
        return Flawed(flaw, detail)
    if said.clip != mark:
        return Flawed(Flaw.OTHER_CLIP, f'"clip" is {said.clip[:EXCERPT]!r}, not {mark!r}')
    if len(said.questions) != n:
        return Flawed(Flaw.MALFORMED, f"{len(said.questions)} questions, not {n}")
    return said.questions
