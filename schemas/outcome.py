"""What happened to a row that did not come through."""

from dataclasses import dataclass
from enum import StrEnum

from schemas.row import Record


class Reason(StrEnum):
    """Why a stage declined a row on purpose. Extend here, nowhere else."""

    NO_VIDEO_STREAM = "no_video_stream"
    TOO_FEW_FRAMES = "too_few_frames"
    DUPLICATE_FILE = "duplicate_file"
    DAMAGED = "damaged"  # the rest of a film of which the beginning is used
    TOO_SHORT = "too_short"
    TRANSITION = "transition"
    CAMERA_MOVES = "camera_moves"
    NO_SUBJECT = "no_subject"
    NOTHING_TO_SAY = "nothing_to_say"
    TOO_LONG = "too_long"
    NOT_SEPARABLE = "not_separable"
    OTHER_POSITIONS = "other_positions"
    NOT_FINITE = "not_finite"
    OVER_BUDGET = "over_budget"
    NOT_SCORED = "not_scored"
    LABEL_RISK = "label_risk"
    HACKABLE = "hackable"
    SPARSE = "sparse"
    IMBALANCE = "imbalance"
    TEXT_SPANS_SHOTS = "text_spans_shots"
    LITTLE_MOTION = "little_motion"
    MUCH_MOTION = "much_motion"
    BLURRED = "blurred"
    DARK = "dark"
    BRIGHT = "bright"
    FLAT = "flat"
    BLACK = "black"
    FROZEN = "frozen"
    OVERLAY_TEXT = "overlay_text"
    UNAESTHETIC = "unaesthetic"
    NSFW = "nsfw"
    NEAR_DUPLICATE = "near_duplicate"


@dataclass(frozen=True, slots=True)
class Skip:
    """A decision: the row is well-formed and we do not want it."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """An accident: the row could not be processed. Only the worker makes these."""

    error: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Record):
    """One line of failures/*.parquet: exactly these columns (DESIGN section 6)."""

    key: str
    uri: str
    stage: str
    kind: str  # "skip" | "failure"
    reason: str  # a Reason, or the error's class
    detail: str
