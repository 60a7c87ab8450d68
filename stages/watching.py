"""What stages share that look at a clip with a scorer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from schemas.clip import DecodedClip
from schemas.outcome import Reason, Skip
from schemas.sample import TargetScore
from schemas.time import seconds
from stages.base import Resources, Stage
from stages.measure import Measures, measure
from stages.media.child import Limits
from stages.media.frame_store import STORE_DIR, STORE_GB, ClipFrames
from stages.models.checkpoint import revision
from stages.models.protocols import NotSeparable, Scorer, Target, TooLong


@dataclass(frozen=True, slots=True)
class Eyes:
    """A scorer and the frames that it looks at."""

    scorer: Scorer
    frames: ClipFrames

    def score(
        self, clip: DecodedClip, targets: Sequence[Target], shuffles: int
    ) -> tuple[tuple[TargetScore, ...], np.ndarray] | Skip:
        """One score a target, and the planned frames that they were read with; a Skip where they cannot be read.
        Thresholds hold for one number of frames: with another one there is no verdict."""
        frames_THWC = self.frames.plan(clip)
        try:
            scores = measure(
                self.scorer.watch(frames_THWC, frame_times(clip)),
                targets,
                n_frames=len(frames_THWC),
                key=clip.clip_id,
                thresholds=self.scorer.thresholds if len(frames_THWC) == self.scorer.n_frames else None,
                measures=Measures(shuffles=shuffles),
            )
        except TooLong as error:
            return Skip(Reason.TOO_LONG, str(error))
        except NotSeparable as error:
            return Skip(Reason.NOT_SEPARABLE, str(error))
        except FloatingPointError as error:
            return Skip(Reason.NOT_FINITE, str(error))
        return scores, frames_THWC


def frame_times(clip: DecodedClip) -> list[str]:
    """The times of the planned frames from the clip's start, as the composer writes them."""
    return [f"{seconds(t - clip.start_tick, clip.time_base_num, clip.time_base_den):.2f} s" for t in clip.plan_tick]


@dataclass(frozen=True, kw_only=True)
class Watching(Stage[Any, Any, Eyes]):
    """A stage whose worker holds a scorer and the frame store; what it reads and writes, its heirs say."""

    scorer: str = "embedded"
    shuffles: int = 0
    store_dir: str = STORE_DIR
    store_gb: float = STORE_GB

    resources: ClassVar[Resources] = Resources(cpus=0.5, memory_gb=1.0)
    operational: ClassVar[frozenset[str]] = frozenset({"store_dir", "store_gb"})

    @property
    def parameters(self) -> dict[str, Any]:
        """The scorer by its bytes, too: another checkpoint under the same name is another plan."""
        return {**super().parameters, "scorer_revision": revision(self.scorer)}

    def open(self) -> Eyes:
        """Loads the scorer. Its engine is imported here, so that a plan can be made where no engine is."""
        from stages.models.load import load_scorer

        return Eyes(load_scorer(self.scorer), ClipFrames(self.store_dir, self.store_gb, Limits()))

    def close(self, eyes: Eyes) -> None:
        eyes.frames.close()
