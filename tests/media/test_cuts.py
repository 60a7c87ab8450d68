"""The fast scores are PySceneDetect's own, bit by bit, and so are the cuts."""

import cv2
import numpy as np
import pytest
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector, ContentDetector

from stages.media.cuts import Adaptive, Content


def film() -> list[np.ndarray]:
    """Three textures that drift, BGR."""
    rng = np.random.default_rng(0)
    noise = [cv2.GaussianBlur(rng.integers(0, 255, (90, 160, 3), np.uint8), (0, 0), 2) for _ in range(3)]
    return [np.ascontiguousarray(noise[t // 20][:, t : t + 90]) for t in range(60)]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Adaptive(adaptive_threshold=3.0, min_scene_len=5), AdaptiveDetector(adaptive_threshold=3.0, min_scene_len=5)),
        (Content(threshold=10.0, min_scene_len=5), ContentDetector(threshold=10.0, min_scene_len=5)),
    ],
    ids=["adaptive", "content"],
)
def test_scores_and_cuts_are_the_same(ours: ContentDetector, theirs: ContentDetector) -> None:
    found: dict[ContentDetector, list[int]] = {ours: [], theirs: []}
    for k, frame in enumerate(film()):
        for detector, cuts in found.items():
            cuts += [cut.frame_num for cut in detector.process_frame(FrameTimecode(k, 25.0), frame)]
        assert ours._frame_score == theirs._frame_score
    assert found[ours] == found[theirs] == [20, 40]
