"""All families of questions. Composing renders a program, `utr verify` renders it again from the shards and compares.

A program is rendered in the words of its number `say`: 0 are the composer's own (stages/algorithms/phrasing.py).
"""

from collections.abc import Callable
from dataclasses import replace

from stages.algorithms.ask_clip import absent, caption, dense
from stages.algorithms.ask_events import during, following, happens, order
from stages.algorithms.ask_motion import acting, away, doing, lasting
from stages.algorithms.ask_subject import direction, record, trajectory, when, where
from stages.algorithms.ask_turns import choice, conversation
from stages.algorithms.ask_twin import twin
from stages.algorithms.ask_two import beside, beside_when, count, faster
from stages.algorithms.asking import Program, Rendered, Unanswerable
from stages.algorithms.phrasing import phrased
from stages.algorithms.scene import Scene


def render(scene: Scene, program: Program) -> Rendered:
    """Question and answer of a program; raises Unanswerable where the scene gives none, or more than one."""
    op = program.get("op")
    if op not in FAMILIES:
        raise Unanswerable(f"unknown op {op!r}; known: {', '.join(FAMILIES)}")
    rendered = FAMILIES[op](scene, program)
    if say := program.get("say", 0):
        return replace(rendered, question=phrased(rendered.question, say))
    return rendered


FAMILIES: dict[str, Callable[[Scene, Program], Rendered]] = {
    # about one subject: the paper's
    "record": record, "trajectory": trajectory, "when": when, "where": where, "direction": direction,
    # about the whole clip
    "absent": absent, "timeline": dense, "caption": caption,
    # about what happens
    "happens": happens, "order": order, "next": following, "during": during,
    # about how a subject moves
    "doing": doing, "acting": acting, "lasting": lasting, "away": away,
    # about several subjects
    "beside": beside, "beside_when": beside_when, "faster": faster, "count": count,
    # made of others
    "choice": lambda scene, program: choice(render, scene, program),
    "conversation": lambda scene, program: conversation(render, scene, program),
    "twin": lambda scene, program: twin(render, scene, program),
}  # fmt: skip
TAUGHT = (
    "record",
    "trajectory",
    "when",
    "where",
    "direction",
    "absent",
    "timeline",
    "caption",
)  # to the embedded scorer
