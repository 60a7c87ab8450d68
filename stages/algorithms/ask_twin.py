"""A question about a twin of the clip: asked in the same words, answered from the frames as the twin shows them.

Nothing is asked that a moment between two planned frames could make false: what changes in a reversed film must be
answerable in the film itself, at the frames that it comes from.
"""

from collections.abc import Callable
from dataclasses import replace

from stages.algorithms.asking import Program, Rendered, Unanswerable
from stages.algorithms.describe import STILL
from stages.algorithms.scene import Scene
from stages.algorithms.twins import BACKWARD, showing, shown_scene

CHANGES, KEEPS, UNANSWERABLE = "must-change", "must-not-change", "unanswerable"
AT_FRAMES = ("where", "when", "beside", "count")  # what each frame shows by itself
MOTION = ("direction", "doing", "happens", "order", "faster")
ASKED = {
    "reversed": (*AT_FRAMES, *MOTION),
    "swapped": (*AT_FRAMES, "direction", "order", "next"),
    "mirrored": (*AT_FRAMES, *MOTION),
    "frozen": ("where", "when", "beside", "direction", "happens", "order", "next", "faster", "acting", "lasting"),
    "slowed": (*AT_FRAMES, "direction"),
}
IN_STILLS = "This cannot be told: the video shows one picture all the time."


def twin(render: Callable[[Scene, Program], Rendered], scene: Scene, program: Program) -> Rendered:
    """The question `of` about the twin; `twin_effect` says what that does to the answer."""
    kind, at, of = program["kind"], program["at"], program["of"]
    shown = shown_scene(scene, kind, at)
    if of["op"] not in ASKED[kind]:
        raise Unanswerable(f"{of['op']!r} is not asked of a {kind} film; these are: {', '.join(ASKED[kind])}")
    if kind == "swapped" and of["op"] == "direction":
        order = showing(kind, scene.n_frames, at).order
        if order[of["last"] - 1] - order[of["first"] - 1] != of["last"] - of["first"]:
            raise Unanswerable("it is asked about both sides of the seam")
    base = render(scene, of)
    if kind == "frozen" and of["op"] not in AT_FRAMES:
        if base.direction == "event->none" or of.get("motion") == STILL:
            raise Unanswerable("a film that stands still shows it")
        return replace(
            base, answer=IN_STILLS, answer_type="text", reward={"kind": "exact", "value": IN_STILLS},
            frames=tuple(range(1, scene.n_frames + 1)), twin_effect=UNANSWERABLE,
        )  # fmt: skip
    source = render(scene, _source(scene, of)) if kind == "reversed" else base
    said = render(shown, of)
    effect = KEEPS if said.answer == base.answer else CHANGES
    return replace(said, risk=max(said.risk, base.risk, source.risk), twin_effect=effect)


def _source(scene: Scene, of: Program) -> Program:
    """What must be true of the film for the answer to be true of it backward."""
    if of["op"] == "happens":
        return {**of, "kind": BACKWARD[of["kind"]]}
    if of["op"] == "doing":
        return {**of, "first": scene.n_frames + 1 - of["last"], "last": scene.n_frames + 1 - of["first"]}
    return of
