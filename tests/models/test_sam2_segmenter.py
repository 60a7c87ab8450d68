"""SAM2 of the real class with random weights: shapes, determinism, and that letting go of frames changes nothing."""

from pathlib import Path

import numpy as np
import pytest

from schemas.clip import Box
from stages.algorithms.mask_tracks import Mask
from stages.models.expert_weights import BadExpert, find_weights
from stages.models.sam2_segmenter import Sam2Segmenter, Sam2Session
from tests.models import tiny_sam2

N, SIZE = 12, (60, 100)
LEFT: Box = (10.0, 10.0, 40.0, 50.0)
RIGHT: Box = (60.0, 20.0, 90.0, 55.0)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Sam2Segmenter:
    folder = tiny_sam2.write(tmp_path_factory.mktemp("sam2") / "tiny")
    return Sam2Segmenter(find_weights(str(folder), "", ""), device="cpu", threads=1)


def _frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (N, *SIZE, 3), np.uint8)


def _follow(session: Sam2Session) -> list[dict[int, Mask]]:
    """The left one from the first frame on, the right one from the fourth."""
    found = [session.begin(0, {0: LEFT})]
    for t in range(1, N):
        masks = session.step(t)
        if t == 3:
            masks |= session.begin(t, {1: RIGHT})
        found.append(masks)
    return found


def test_masks_are_of_the_frames_size_one_a_subject(segmenter: Sam2Segmenter) -> None:
    found = _follow(segmenter.watch(_frames()))
    assert [sorted(masks) for masks in found] == [[0]] * 3 + [[0, 1]] * (N - 3)
    for masks in found:
        for mask in masks.values():
            assert mask.mask_HW.shape == SIZE
            assert mask.mask_HW.dtype == bool
            assert 0 <= mask.score <= 1


def test_the_same_frames_give_the_same_masks(segmenter: Sam2Segmenter) -> None:
    one, other = (_follow(segmenter.watch(_frames())) for _ in range(2))
    for masks, again in zip(one, other, strict=True):
        assert masks.keys() == again.keys()
        for number, mask in masks.items():
            assert (mask.mask_HW == again[number].mask_HW).all()
            assert mask.score == again[number].score


def test_letting_go_of_what_is_not_looked_at_changes_nothing(
    segmenter: Sam2Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = segmenter.watch(_frames())
    found = _follow(session)
    kept = session._session.output_dict_per_obj[0]
    assert len(kept["non_cond_frame_outputs"]) < N - 1
    assert not any("high_res_masks" in stored for stored in kept["non_cond_frame_outputs"].values())
    monkeypatch.setattr(Sam2Session, "_forget", lambda self, frame: None)
    whole = segmenter.watch(_frames())
    for masks, again in zip(found, _follow(whole), strict=True):
        for number, mask in masks.items():
            assert mask.score == again[number].score
            assert (mask.mask_HW == again[number].mask_HW).all()
    assert len(whole._session.output_dict_per_obj[0]["non_cond_frame_outputs"]) == N - 1


def test_a_processor_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = tiny_sam2.write(tmp_path / "odd")
    told = folder / "preprocessor_config.json"
    told.write_text(told.read_text().replace("128", "96"))
    with pytest.raises(BadExpert, match="are not the model's squares of 128 px"):
        Sam2Segmenter(find_weights(str(folder), "", ""), device="cpu", threads=1)
