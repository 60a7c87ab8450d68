"""What a question is, and what all families of questions share: who may be asked about, and how sure the words are.

A program is a small query, stored as JSON beside its sample; a family renders program and scene into question, answer,
reward and evidence (stages/algorithms/questions.py has them all).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from schemas.clip import Moment, Trajectory
from stages.algorithms.describe import is_labelled, place_risk
from stages.algorithms.scene import Scene, coordinates, fits, name

Program = Mapping[str, Any]  # JSON: {"op": family, ...}
TRACK_FORMAT = "Write tracks as Track1: name<id1>frame1:[x1,y1,x2,y2]</id1>."
BOX_FORMAT = "Write boxes as frame1:[x1,y1,x2,y2]."
SPAN_FORMAT = "Answer with frames and times."
LETTER_FORMAT = "Answer with the letter."
NAME_FORMAT = "Answer with the subject."
ORDER_FORMAT = "Answer with the letters in order."
TIME_FORMAT = "Answer in seconds."
COUNT_FORMAT = "Answer with a number."
LETTERS = "ABCDEFGH"
MAX_RISK = 0.75  # label risk above which a build abstains, where its recipe says nothing else
CAPTION_QUESTION = "What happens in this video?"
TIMELINE_QUESTION = "Where is each moving subject over time? Answer in order, with frames."
FOLLOWED_QUESTION = "Where are the tracked subjects over time? Answer in order, with frames."


class Unanswerable(ValueError):
    """The program has no single right answer on this scene."""


@dataclass(frozen=True, slots=True)
class Rendered:
    question: str
    answer: str
    direction: str  # what is given -> what is asked
    answer_type: str
    reward: dict[str, Any]
    track_ids: tuple[int, ...]
    frames: tuple[int, ...]  # planned frames that the answer needs, 1-based
    risk: float  # 0..1
    history: tuple[tuple[str, str], ...] = ()  # earlier turns of the conversation: questions and answers
    twin_effect: str | None = None  # of a question about a twin: what that does to the answer


def to_json(value: object) -> str:
    """JSON with one spelling for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def track_of(scene: Scene, track_id: int) -> Trajectory:
    found = [t for t in scene.tracks if t.track_id == track_id]
    if len(found) != 1 or not scene.seen(found[0]):
        raise Unanswerable(f"no track {track_id} at the planned frames")
    return found[0]


def named(scene: Scene, track_id: int) -> Trajectory:
    track = track_of(scene, track_id)
    unique([t for t in scene.tracks if fits(track, t)], name(track))
    return track


def moment_of(scene: Scene, track: Trajectory, frame: int) -> Moment:
    moment = scene.at(track, frame) if 1 <= frame <= scene.n_frames else None
    if moment is None:
        raise Unanswerable(f"track {track.track_id} is not seen at frame{frame}")
    return moment


def unique(candidates: list[Trajectory], what: str) -> None:
    if len(candidates) != 1:
        raise Unanswerable(f"{len(candidates)} subjects fit: {what}")


def ends_known(scene: Scene, track: Trajectory, first: int, last: int) -> None:
    """Raises Unanswerable where a labelled subject may be there before `first` or after `last`, only not detected."""
    if not is_labelled(track):
        return
    seen = scene.seen(track)
    before = first == 1 or first - 1 in seen or scene.event(track, ("enters", "appears"))
    after = last == scene.n_frames or last + 1 in seen or scene.event(track, ("leaves", "disappears"))
    if not (before and after):
        raise Unanswerable(f"track {track.track_id} may be there before frame{first} or after frame{last}, undetected")


def boxes(scene: Scene, track: Trajectory) -> list[tuple[int, str]]:
    return [(k, coordinates(track, m)) for k, m in scene.seen(track).items()]


def place_risk_of(track: Trajectory, moment: Moment) -> float:
    return place_risk(moment.box_xyxy_px, track.frame_width_px, track.frame_height_px)


def caption_risk(scene: Scene) -> float:
    """The caption names first and last places, and motions, of each subject."""
    ends = [(t, m) for t in scene.tracks for m in (t.moments[0], t.moments[-1])]
    told = [
        median(m.action_risk for m in t.moments[p.first : p.last + 1]) for t in scene.tracks for p in scene.steady(t)
    ]
    return max([place_risk_of(t, m) for t, m in ends] + [t.risk for t in scene.tracks] + told)


def track_reward(scene: Scene, track: Trajectory) -> dict[str, Any]:
    return {"kind": "iou", "value": {str(k): box for k, box in boxes(scene, track)}}
