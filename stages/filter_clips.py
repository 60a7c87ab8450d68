"""What are the pictures of a clip worth, and is that enough? Every number is kept; a bound makes it a filter."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import ClassVar

import cv2
import numpy as np

from schemas.clip import DecodedClip, Quality
from schemas.outcome import Reason, Skip
from schemas.time import seconds
from stages.algorithms.near_duplicates import fingerprint, picture
from stages.algorithms.quality import black_share, frozen_share, luminance, motion, sharpness, small_greys
from stages.algorithms.quality_judge import Judge, find_judge, judged, load_judge
from stages.algorithms.quality_text import text_share
from stages.base import Resources, Stage
from stages.media.child import Limits
from stages.media.frame_store import STORE_DIR, STORE_GB, ClipFrames

REASONS = {
    "min_motion": Reason.LITTLE_MOTION,
    "max_motion": Reason.MUCH_MOTION,
    "min_sharpness": Reason.BLURRED,
    "min_luminance": Reason.DARK,
    "max_luminance": Reason.BRIGHT,
    "min_luminance_spread": Reason.FLAT,
    "max_black_share": Reason.BLACK,
    "max_frozen_share": Reason.FROZEN,
    "max_text_share": Reason.OVERLAY_TEXT,
    "min_aesthetic": Reason.UNAESTHETIC,
    "max_nsfw": Reason.NSFW,
}


@dataclass(frozen=True, slots=True)
class Looks:
    """What a worker looks with: frames and, by kind of score, the judges."""

    frames: ClipFrames
    judges: dict[str, Judge]


@dataclass(frozen=True, kw_only=True)
class FilterClips(Stage[DecodedClip, DecodedClip, Looks]):
    """Adds `quality` and `fingerprint`; a clip beyond a bound ends as a Skip. No bound is set: then nothing is dropped.

    min_x and max_x bound the number x of schemas.clip.Quality, in its unit.
    """

    min_motion: float | None = None
    max_motion: float | None = None
    min_sharpness: float | None = None
    min_luminance: float | None = None
    max_luminance: float | None = None
    min_luminance_spread: float | None = None
    max_black_share: float | None = None
    max_frozen_share: float | None = None
    max_text_share: float | None = None
    aesthetic: str | None = None  # judge: package.module:factory@version, see stages/algorithms/quality_judge.py
    min_aesthetic: float | None = None
    nsfw: str | None = None  # judge, likewise
    max_nsfw: float | None = None
    drop_near_duplicates: bool = False  # when all clips are known: pipeline/near_duplicates.py
    store_dir: str = STORE_DIR
    store_gb: float = STORE_GB

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=0.5, memory_gb=1.0)
    operational: ClassVar[frozenset[str]] = frozenset({"store_dir", "store_gb"})

    def __post_init__(self) -> None:
        for name, bound in self._bounds.items():
            most = inf if name[4:] in ("motion", "sharpness") else 1.0
            if not (0 <= bound <= most and isfinite(bound)):
                raise ValueError(f"{name}={bound:g}: a number from 0 {'on' if most > 1 else 'to 1'} is asked for")
            if bound < self._bounds.get(f"min_{name[4:]}", 0.0):
                raise ValueError(f"{name}={bound:g} is under min_{name[4:]}: no clip would be kept")
            if name[4:] in ("aesthetic", "nsfw") and getattr(self, name[4:]) is None:
                raise ValueError(f"{name}={bound:g} bounds nothing: name a judge as {name[4:]}")
        for name in self._judges.values():
            find_judge(name)

    @property
    def _bounds(self) -> dict[str, float]:
        """The bounds that are set."""
        return {name: value for name in REASONS if (value := getattr(self, name)) is not None}

    @property
    def _judges(self) -> dict[str, str]:
        return {kind: name for kind in ("aesthetic", "nsfw") if (name := getattr(self, kind)) is not None}

    def open(self) -> Looks:
        judges = {kind: load_judge(name) for kind, name in self._judges.items()}
        return Looks(ClipFrames(self.store_dir, self.store_gb, Limits()), judges)

    def close(self, looks: Looks) -> None:
        looks.frames.close()

    def process(self, looks: Looks, clips: Sequence[DecodedClip], /) -> list[DecodedClip | Skip]:
        return [self._filtered(looks, clip) for clip in clips]

    def _filtered(self, looks: Looks, clip: DecodedClip) -> DecodedClip | Skip:
        frames_THWC = looks.frames.load(clip)
        greys_THW, edge_s = small_greys(frames_THWC), edges(clip)
        planned_THWC = frames_THWC[list(clip.plan_index)]
        found = replace(measured(greys_THW, edge_s, planned_THWC), **self._judged(looks, planned_THWC))
        return self._against(found) or replace(clip, quality=found, fingerprint=fingerprint(greys_THW, edge_s))

    def _judged(self, looks: Looks, planned_THWC: np.ndarray) -> dict[str, float | str]:
        """Scores, and by whom, as columns of Quality."""
        found: dict[str, float | str] = {}
        for kind, judge in looks.judges.items():
            found[kind] = judged(self._judges[kind], judge, planned_THWC)
            found[f"{kind}_judge"] = f"{judge.id}@{judge.version}"
        return found

    def _against(self, found: Quality) -> Skip | None:
        """Why the clip is not wanted: the first reason, and the numbers of all."""
        values = {name: getattr(found, name[4:]) for name in self._bounds}
        beyond = [
            (name, f"{name[4:]} {values[name]:.4g} {'<' if name.startswith('min') else '>'} {bound:g}")
            for name, bound in self._bounds.items()
            if (values[name] < bound if name.startswith("min") else values[name] > bound)
        ]
        return Skip(REASONS[beyond[0][0]], "; ".join(text for _, text in beyond)) if beyond else None


def measured(greys_THW: np.ndarray, edge_s: Sequence[float], planned_THWC: np.ndarray) -> Quality:
    """The numbers of a clip from its small grey frames, when these are shown, and its planned frames at stored size."""
    mean, spread = luminance(greys_THW)
    top, bottom, left, right = picture(greys_THW)
    height_px, width_px = greys_THW.shape[1:]
    return Quality(
        motion=motion(greys_THW, edge_s),
        sharpness=sharpness(greys_THW),
        luminance=mean,
        luminance_spread=spread,
        black_share=black_share(greys_THW),
        frozen_share=frozen_share(greys_THW, edge_s),
        text_share=text_share(np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in planned_THWC])),
        picture_share=(bottom - top) * (right - left) / (height_px * width_px),
    )


def edges(clip: DecodedClip) -> list[float]:
    """When each tracking frame begins to be shown, and when the last one ends: seconds from the start of the clip."""
    ticks = (*clip.track_tick, clip.end_tick)
    return [seconds(tick - clip.start_tick, clip.time_base_num, clip.time_base_den) for tick in ticks]
