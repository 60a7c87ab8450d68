"""How much do a clip's captions need the whole clip, and where in time is what they tell?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from schemas.clip import CaptionedClip
from schemas.outcome import Skip
from schemas.sample import ScoredClip
from stages.algorithms.asking import CAPTION_QUESTION, TIMELINE_QUESTION
from stages.base import Stage
from stages.models.protocols import Target
from stages.watching import Eyes, Watching

ASKED = {"global": CAPTION_QUESTION, "given": CAPTION_QUESTION, "timeline": TIMELINE_QUESTION}


@dataclass(frozen=True, kw_only=True)
class ScoreCaptions(Watching, Stage[CaptionedClip, ScoredClip, Eyes]):
    """Adds a TargetScore a caption (DESIGN section 4); the curve of the first one later draws the query frames."""

    version: ClassVar[int] = 2

    def process(self, eyes: Eyes, clips: Sequence[CaptionedClip], /) -> list[ScoredClip | Skip]:
        return [self._scored(eyes, clip) for clip in clips]

    def _scored(self, eyes: Eyes, clip: CaptionedClip) -> ScoredClip | Skip:
        targets = [Target(f"{clip.clip_id}/caption/{c.kind}", ASKED[c.kind], c.text) for c in clip.captions]
        found = eyes.score(clip, targets, self.shuffles)
        if isinstance(found, Skip):
            return found
        scores, frames_THWC = found
        return clip.extend(ScoredClip, caption_scores=scores, scorer=eyes.scorer.card(frames_THWC))
