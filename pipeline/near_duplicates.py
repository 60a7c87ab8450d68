"""Copies among the clips of a build. They are looked for when all clips are known, so no order of work can matter."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pipeline.funnel import Funnel, StageCount
from schemas.clip import DecodedClip
from schemas.outcome import Outcome, Reason
from schemas.sample import SelectedClip
from schemas.time import seconds
from stages.algorithms.near_duplicates import Print, near_duplicates

STAGE = "NearDuplicates"  # the last line of the funnel


@dataclass(frozen=True, slots=True)
class Copies:
    """Which clips of a build are copies, and whether they are left out or only say so."""

    n_clips: int
    original: Mapping[str, str]  # clip_id of a copy -> clip_id of its original
    drop: bool

    @property
    def funnel(self) -> Funnel:
        """A line of its own where copies are dropped."""
        if not self.drop:
            return Funnel()
        count, skipped = len(self.original), {str(Reason.NEAR_DUPLICATE): len(self.original)} if self.original else {}
        return Funnel({STAGE: StageCount(rows_in=self.n_clips, rows_out=self.n_clips - count, skipped=skipped)})

    def without(self, clips: Iterable[SelectedClip]) -> tuple[list[SelectedClip], list[Outcome]]:
        """The clips that stay, copies named as such, and how the others ended."""
        kept: list[SelectedClip] = []
        ended: list[Outcome] = []
        for clip in clips:
            original = self.original.get(clip.clip_id)
            if original is None:
                kept.append(clip)
            elif self.drop:
                ended.append(
                    Outcome(key=clip.clip_id, uri=clip.uri, stage=STAGE, kind="skip",
                            reason=Reason.NEAR_DUPLICATE, detail=f"shows what {original} shows")
                )  # fmt: skip
            else:
                assert clip.quality is not None  # it has a fingerprint, else it were no copy
                kept.append(replace(clip, quality=replace(clip.quality, near_duplicate_of=original)))
        return kept, ended


def find_copies(clips: Iterable[DecodedClip], *, drop: bool) -> Copies:
    """The copies among the finished clips of a build; those without a fingerprint are neither copy nor original."""
    prints = list(_prints(clips))
    return Copies(len(prints), near_duplicates(prints), drop)


def _prints(clips: Iterable[DecodedClip]) -> Iterator[Print]:
    """Of copies the one with texts of its own is the original, then the one with the largest picture."""
    for clip in clips:
        if clip.fingerprint is None or clip.quality is None:
            continue
        has_texts = clip.is_whole_video and bool(clip.caption_given or clip.qa_given)
        picture_px = round(clip.width_px * clip.height_px * clip.quality.picture_share)
        yield Print(
            clip_id=clip.clip_id,
            length_s=seconds(clip.end_tick - clip.start_tick, clip.time_base_num, clip.time_base_den),
            parts=clip.fingerprint,
            rank=(not has_texts, -picture_px),
        )
