"""Rules of following by masks: what begins a subject, what its box is, and who comes back. Pure, but for the session.

A session holds the frames of a clip and gives, frame by frame, the mask of each subject that was begun; an empty mask
means that it is not in view. Boxes are x1, y1, x2, y2 in pixels of these frames.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
import supervision as sv

from schemas.clip import Box, Detection

KNOWN_IOU = 0.3  # a detection whose box overlaps that of a living mask of its label by more is taken as that subject
SAME_IOU = 0.5  # from here on two masks of one label show one thing
MIN_PART = 0.1  # of a mask: smaller pieces are specks, larger ones what a pole leaves of a subject behind it
MIN_MASK_PX = 16  # 4 x 4 pixels of a stored frame are two by two of SAM2's own masks, which are 256 wide


class TooManyMasks(ValueError):
    """More subjects were begun than may be: each is worked through at every later frame."""


@dataclass(frozen=True, slots=True)
class Mask:
    """Where a subject is at a frame, bool (H, W), and how sure the segmenter is that it is in view, 0..1."""

    mask_HW: np.ndarray
    score: float


class Session(Protocol):
    """A segmenter at work on one clip."""

    def step(self, frame: int) -> Mapping[int, Mask]:
        """The masks of all subjects at the next frame, by number."""
        ...

    def begin(self, frame: int, boxes: Mapping[int, Box]) -> Mapping[int, Mask]:
        """Begins subjects at the frame of the last step, from a box each; the masks of these."""
        ...


@dataclass(slots=True)
class Subject:
    """What was begun by a detection, and its observations by frame."""

    number: int
    label: str
    seen: dict[int, Detection] = field(default_factory=dict)


def followed(
    session: Session, frames_THWC: np.ndarray, prompts: Mapping[int, Sequence[Detection]], *, max_masks: int
) -> list[tuple[Detection, ...]]:
    """The observations of each subject, in order of appearance; `prompts` are the detections of the key frames.

    A detection begins a subject where it overlaps no living mask of its label. A subject that comes back keeps its
    number, also where a detection began a new one first: that one's observations are joined to the old one's.
    Raises TooManyMasks.
    """
    subjects: list[Subject] = []
    became: dict[int, int] = {}  # a subject that turned out to be an older one
    for t, frame_HWC in enumerate(frames_THWC):
        masks = dict(session.step(t)) if subjects else {}
        living = _living(masks, subjects, t, frame_HWC)
        born = {len(subjects) + k: d for k, d in enumerate(unknown(prompts.get(t, ()), living))}
        if len(subjects) + len(born) > max_masks:
            raise TooManyMasks(f"{len(subjects) + len(born)} masks are begun by frame {t} > {max_masks}")
        if born:
            subjects += [Subject(number, d.label) for number, d in born.items()]
            masks |= session.begin(t, {number: d.box_xyxy_px for number, d in born.items()})
            living = _living(masks, subjects, t, frame_HWC)
        for number, observation in living.items():
            subjects[number].seen[t] = observation
        for young, old in _pairs(masks, living, subjects):
            if young in became:
                continue
            if _was_away(subjects[old], subjects[young], t):
                became[young] = became.get(old, old)
            else:
                del subjects[young].seen[t]  # two masks on one thing: it is the older one's
        for young, old in became.items():
            _join(subjects[young], subjects[old])
    return [tuple(s.seen[t] for t in sorted(s.seen)) for s in subjects if s.seen]


def unknown(detections: Iterable[Detection], living: Mapping[int, Detection]) -> list[Detection]:
    """The detections that overlap no living subject of their label."""
    return [
        d
        for d in detections
        if all(_iou(d.box_xyxy_px, one.box_xyxy_px) <= KNOWN_IOU for one in living.values() if one.label == d.label)
    ]


def observation(frame: int, mask: Mask, frame_HWC: np.ndarray, label: str) -> Detection | None:
    """The box around a mask without its specks, and what is inside; None where hardly anything is left of it."""
    mask_HW = without_specks(mask.mask_HW)
    area_px = int(mask_HW.sum())
    if area_px < MIN_MASK_PX:
        return None
    y_N, x_N = np.nonzero(mask_HW)
    x1, y1, x2, y2 = float(x_N.min()), float(y_N.min()), float(x_N.max() + 1), float(y_N.max() + 1)
    r, g, b = (float(v) for v in np.median(frame_HWC[mask_HW], axis=0))
    return Detection(
        frame=frame,
        box_xyxy_px=(x1, y1, x2, y2),
        label=label,
        score=mask.score,
        rgb=(r, g, b),
        fill=area_px / ((x2 - x1) * (y2 - y1)),
        outline=0.0,
    )


def without_specks(mask_HW: np.ndarray) -> np.ndarray:
    """The mask's pieces of at least MIN_PART of it."""
    n_parts, part_HW, stats, _ = cv2.connectedComponentsWithStats(mask_HW.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    large = [k for k in range(1, n_parts) if areas[k] >= MIN_PART * areas[1:].sum()]
    return np.isin(part_HW, large)


def _living(
    masks: Mapping[int, Mask], subjects: Sequence[Subject], t: int, frame_HWC: np.ndarray
) -> dict[int, Detection]:
    found = {n: observation(t, mask, frame_HWC, subjects[n].label) for n, mask in masks.items()}
    return {n: one for n, one in found.items() if one is not None}


def _pairs(
    masks: Mapping[int, Mask], living: Mapping[int, Detection], subjects: Sequence[Subject]
) -> list[tuple[int, int]]:
    """(younger, older) subjects of one label whose masks show one thing; of several older ones the oldest."""
    found: list[tuple[int, int]] = []
    for young in sorted(living):
        same = [n for n in sorted(living) if n < young and subjects[n].label == subjects[young].label]
        older = next((n for n in same if _mask_iou(masks[n].mask_HW, masks[young].mask_HW) >= SAME_IOU), None)
        if older is not None:
            found.append((young, older))
    return found


def _was_away(old: Subject, young: Subject, now: int) -> bool:
    """Whether the older one was out of view from before the younger one began until now."""
    first = min(young.seen)
    return not any(first <= t < now for t in old.seen)


def _join(young: Subject, old: Subject) -> None:
    """What the younger one saw belongs to the older one, where that saw nothing itself."""
    for t, one in young.seen.items():
        old.seen.setdefault(t, one)
    young.seen.clear()


def _iou(one: Box, other: Box) -> float:
    return float(sv.box_iou_batch(np.array([one]), np.array([other]))[0, 0])


def _mask_iou(one_HW: np.ndarray, other_HW: np.ndarray) -> float:
    return float((one_HW & other_HW).sum() / max(1, (one_HW | other_HW).sum()))
