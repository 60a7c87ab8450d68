"""Families made of other families: the same question with options, and several questions in one conversation."""

from collections.abc import Callable, Mapping

from stages.algorithms.asking import LETTER_FORMAT, LETTERS, Program, Rendered, Unanswerable, to_json
from stages.algorithms.rewards import reward
from stages.algorithms.scene import Scene

CHOOSABLE = ("when", "happens", "during", "doing", "acting", "lasting")  # families with one short answer
Render = Callable[[Scene, Program], Rendered]
MAX_NEARLY = 0.34  # reward of an option that is wrong: spans may touch the right one, not be nearly it


def choice(render: Render, scene: Scene, program: Program) -> Rendered:
    """A question of another family with options, one of which is right. That the others are wrong is measured by the
    reward of the question itself."""
    if program["of"]["op"] not in CHOOSABLE:
        raise Unanswerable(f"{program['of']['op']!r} takes no options; these do: {', '.join(CHOOSABLE)}")
    base, options = render(scene, program["of"]), list(program["options"])
    if len(set(options)) < len(options) or options.count(base.answer) != 1 or not 2 <= len(options) <= len(LETTERS):
        raise Unanswerable(f"{base.answer!r} is {options.count(base.answer)} times among {len(options)} options")
    nearly = [o for o in options if o != base.answer and reward(o, to_json(base.reward)) > MAX_NEARLY]
    if nearly:
        raise Unanswerable(f"{nearly[0]!r} is nearly right, too")
    letter = LETTERS[options.index(base.answer)]
    listed = " ".join(f"({LETTERS[i]}) {option.removesuffix('.')}" for i, option in enumerate(options))
    return Rendered(
        f"{_unformatted(base.question)} {listed} {LETTER_FORMAT}", f"({letter}) {base.answer}", base.direction,
        "choice", {"kind": "choice", "value": letter, "options": options}, base.track_ids, base.frames, base.risk,
    )  # fmt: skip


def conversation(render: Render, scene: Scene, program: Program) -> Rendered:
    """Several questions about one clip, one after the other. The reward is that of the last one."""
    turns: list[Mapping[str, object]] = list(program["turns"])
    said = [render(scene, turn) for turn in turns]
    if len(said) < 2 or any(r.history for r in said):
        raise Unanswerable(f"{len(said)} turns are no conversation")
    if len({r.question for r in said}) < len(said):
        raise Unanswerable("a question is asked twice")
    last = said[-1]
    return Rendered(
        last.question, last.answer, "conversation", last.answer_type, last.reward,
        tuple(sorted({i for r in said for i in r.track_ids})), tuple(sorted({k for r in said for k in r.frames})),
        max(r.risk for r in said), tuple((r.question, r.answer) for r in said[:-1]),
    )  # fmt: skip


def _unformatted(question: str) -> str:
    """Without the sentence that says how to write the answer."""
    return question[: question.index("?") + 1]
