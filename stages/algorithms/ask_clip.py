"""Families about the whole clip: who is not there, where all are over time, what happens."""

from stages.algorithms.asking import (
    CAPTION_QUESTION,
    FOLLOWED_QUESTION,
    TIMELINE_QUESTION,
    TRACK_FORMAT,
    Program,
    Rendered,
    Unanswerable,
    caption_risk,
    place_risk_of,
)
from stages.algorithms.scene import MAX_NAMED, Scene, global_caption, is_followed, timeline


def absent(scene: Scene, program: Program) -> Rendered:
    """A subject that is not there (paper: negatives). About motion only: the expert sees what moves.

    Nothing is absent where a detector looked: it misses subjects, small and hidden ones above all.
    """
    subject = program["subject"]
    if is_followed(scene):
        raise Unanswerable("a detector may have missed it")
    if subject in scene.names:
        raise Unanswerable(f"a {subject} is there")
    answer = f"No {subject} moves in this video."
    return Rendered(
        f"What is the track of the moving {subject}? {TRACK_FORMAT}", answer, "identity->none", "text",
        {"kind": "exact", "value": answer}, (), tuple(range(1, scene.n_frames + 1)),
        max((t.risk for t in scene.tracks), default=0.0),  # one that is there may have been called another name
    )  # fmt: skip


def dense(scene: Scene, program: Program) -> Rendered:
    """The dense caption, ordered in time."""
    _someone(scene)
    if len(scene.tracks) > MAX_NAMED:
        raise Unanswerable(f"{len(scene.tracks)} subjects are too many for one timeline")
    risk = max(
        [place_risk_of(t, m) for t in scene.tracks for m in scene.seen(t).values()] + [t.risk for t in scene.tracks]
    )
    return Rendered(
        FOLLOWED_QUESTION if is_followed(scene) else TIMELINE_QUESTION, timeline(scene),
        "video->timeline", "text", {"kind": "exact", "value": timeline(scene)},
        tuple(t.track_id for t in scene.tracks), tuple(range(1, scene.n_frames + 1)), risk,
    )  # fmt: skip


def caption(scene: Scene, program: Program) -> Rendered:
    """The global caption."""
    _someone(scene)
    text = global_caption(scene)
    return Rendered(
        CAPTION_QUESTION, text, "video->caption", "text",
        {"kind": "exact", "value": text}, tuple(t.track_id for t in scene.tracks),
        tuple(range(1, scene.n_frames + 1)), caption_risk(scene),
    )  # fmt: skip


def _someone(scene: Scene) -> None:
    if not scene.tracks:
        raise Unanswerable("nobody is there")
