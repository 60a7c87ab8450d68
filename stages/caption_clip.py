"""Write the clip's captions: the sentence over all subjects, the dense timeline, and what came with the video."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from schemas.clip import Caption, CaptionedClip, DescribedClip
from schemas.outcome import Reason, Skip
from stages.algorithms.scene import MAX_NAMED, Scene, global_caption, timeline
from stages.base import Resources, Stage


@dataclass(frozen=True, kw_only=True)
class CaptionClip(Stage[DescribedClip, CaptionedClip, None]):
    """Captions from tracks; a given caption is taken where the clip is the whole video."""

    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources(cpus=0.25, batch_rows=8)

    def process(self, _: None, clips: Sequence[DescribedClip], /) -> list[CaptionedClip | Skip]:
        return [_captioned(clip) for clip in clips]


def scene_of(clip: DescribedClip) -> Scene:
    """What the composer may know of a clip: the subjects that its planned frames show."""
    base = (clip.time_base_num, clip.time_base_den)
    return Scene.of(clip.plan_tick, clip.start_tick, base, clip.trajectories, clip.events)


def _captioned(clip: DescribedClip) -> CaptionedClip | Skip:
    scene = scene_of(clip)
    if not scene.tracks:
        return Skip(Reason.NOTHING_TO_SAY, f"{len(clip.trajectories)} tracks, none at a planned frame")
    captions = [Caption(kind="global", text=global_caption(scene), describer=clip.describer)]
    if len(scene.tracks) <= MAX_NAMED:
        captions.append(Caption(kind="timeline", text=timeline(scene), describer=clip.describer))
    if clip.caption_given and clip.is_whole_video:
        captions.append(Caption(kind="given", text=clip.caption_given, describer="manifest"))
    return clip.extend(CaptionedClip, captions=tuple(captions))
