"""The ONNX detector on a tiny export with known answers; on a real one where UTR_ONNX_DETECTOR names its folder."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.algorithms.labels import COCO91, read_labels
from stages.algorithms.ssd import best, decoded, fitted
from stages.models.onnx_detector import BATCH_FRAMES, BadExport, Export, OnnxDetector
from tests.models.tiny_onnx import LABELS, write

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (80, 80, 80)
REAL = os.environ.get("UTR_ONNX_DETECTOR", "")
Make = Callable[..., OnnxDetector]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def load(resize: str = "stretch", labels: tuple[str, ...] = LABELS, **how: object) -> OnnxDetector:
        model, anchors = write(tmp_path, **how)  # type: ignore[arg-type]
        return OnnxDetector(_export(model, anchors, resize=resize, labels=labels), threads=1)

    return load


def _export(model: Path, anchors: Path | None, *, resize: str = "stretch", labels: tuple[str, ...] = LABELS) -> Export:
    return Export(model=str(model), anchors=str(anchors or ""), labels=labels, pixels=(0.0, 1.0), resize=resize)


def _frame(width_px: int, height_px: int, *painted: tuple[tuple[int, int, int, int], tuple[int, int, int]]):
    frame = np.full((height_px, width_px, 3), GREY, np.uint8)
    for (x1, y1, x2, y2), rgb in painted:
        frame[y1:y2, x1:x2] = rgb
    return frame


@pytest.mark.parametrize("is_channels_last", [True, False])
@pytest.mark.parametrize("has_anchors", [True, False])
def test_boxes_come_back_in_pixels_of_a_wide_frame(make: Make, is_channels_last: bool, has_anchors: bool) -> None:
    # 320 x 160 stretched to 64 x 64: a cell is 40 x 20 pixels of the frame.
    frame = _frame(320, 160, ((80, 60, 120, 80), RED), ((240, 0, 280, 20), BLUE))
    detector = make(is_channels_last=is_channels_last, has_anchors=has_anchors)
    ((person, car),) = detector.find(frame[None], least_score=0.5)
    assert (person.label, car.label) == ("person", "car")
    assert person.box_xyxy_px == pytest.approx((80, 60, 120, 80), abs=1e-3)
    assert car.box_xyxy_px == pytest.approx((240, 0, 280, 20), abs=1e-3)
    assert person.score == pytest.approx(1.0, abs=1e-6)


def test_a_letterboxed_frame_keeps_its_shape_and_its_boxes_are_clipped(make: Make) -> None:
    # 320 x 160 becomes 64 x 32 under 16 rows of grey; a cell is 40 x 40 pixels of the frame.
    frame = _frame(320, 160, ((80, 40, 120, 80), RED))
    ((person,),) = make("letterbox").find(frame[None], least_score=0.5)
    assert person.box_xyxy_px == pytest.approx((80, 40, 120, 80), abs=1e-3)
    image, placement = fitted(_frame(100, 33), 64, 64, "letterbox")
    assert (image[0, 0] == 114).all()
    assert placement.back(np.array([[0.0, 21.0, 64.0, 42.0]]))[0] == pytest.approx([0, 0, 100, 33])


@pytest.mark.parametrize("batch", [1, 3, "batch"])
def test_a_frame_is_read_alike_in_any_batch(make: Make, batch: int | str) -> None:
    count = BATCH_FRAMES + 3
    frames = np.stack([_frame(64, 64, ((8 * (k % 8), 8, 8 * (k % 8) + 8, 16), RED)) for k in range(count)])
    detector = make(batch=batch)
    found = detector.find(frames, least_score=0.5)
    assert [round(things[0].box_xyxy_px[0]) for things in found] == [8 * (k % 8) for k in range(count)]
    assert found == [detector.find(frame[None], least_score=0.5)[0] for frame in frames]


def test_classes_and_scores_are_filters(make: Make) -> None:
    frame = _frame(64, 64, ((0, 0, 8, 8), RED), ((16, 0, 24, 8), BLUE), ((32, 0, 36, 8), RED))[None]
    detector = make()
    assert [thing.label for thing in detector.find(frame, least_score=0.4)[0]] == ["person", "car", "person"]
    assert [thing.label for thing in detector.find(frame, least_score=0.6)[0]] == ["person", "car"]
    assert [thing.label for thing in detector.find(frame, least_score=0.4, classes=("car",))[0]] == ["car"]


def test_two_classes_may_have_one_label(make: Make) -> None:
    detector = make(labels=("", "thing", "thing"))
    frame = _frame(64, 64, ((0, 0, 8, 8), RED), ((16, 0, 24, 8), BLUE))
    assert [thing.label for thing in detector.find(frame[None], least_score=0.5)[0]] == ["thing", "thing"]


def test_ssd_codes_are_decoded() -> None:
    anchor = np.array([[0.2, 0.4, 0.4, 0.8]])  # centre .3, .6; .2 high and .4 wide
    code = np.array(
        [[5.0, -2.5, 5 * np.log(2), 0.0]]
    )  # half its height down, a quarter of its width left, twice as high
    assert decoded(code, anchor)[0] == pytest.approx([0.3, 0.2, 0.7, 0.6])


def test_of_doubles_the_best_stays_and_a_rider_is_no_double() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9.5], [0, 3, 10, 13.0]])
    labels = np.array([0, 0, 1, 2])
    # 1 is a double of 0; 2 is the same thing by another label; 3 overlaps and is another thing.
    assert best(boxes, np.array([0.9, 0.8, 0.7, 0.6]), labels).tolist() == [0, 3]
    assert best(boxes, np.array([0.7, 0.8, 0.9, 0.6]), labels).tolist() == [2, 3]


def test_exports_that_cannot_be_read_are_named(make: Make, tmp_path: Path) -> None:
    with pytest.raises(BadExport, match="has 3 classes, and labels names 91"):
        make(labels=COCO91)
    with pytest.raises(BadExport, match=r"scores from -3\.00 to -3\.00, no probabilities"):
        make(is_logits=True)
    model, anchors = write(tmp_path)
    assert anchors is not None
    np.save(anchors, np.zeros((5, 4)))
    with pytest.raises(BadExport, match=r"cells\.npy has shape \(5, 4\), the boxes \(64, 4\)"):
        OnnxDetector(_export(model, anchors), threads=1)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(BadExport, match=r"broken\.onnx cannot be loaded"):
        OnnxDetector(_export(broken, None), threads=1)
    with pytest.raises(ValueError, match=r"model: no file 'nowhere\.onnx'"):
        _export(Path("nowhere.onnx"), None)


def test_labels_are_read_by_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("\nperson\n\ncar\n")
    assert read_labels(str(path)) == ("", "person", "", "car")
    assert (len(read_labels("coco91")), COCO91[1], COCO91[3], COCO91[90]) == (91, "person", "car", "toothbrush")
    with pytest.raises(ValueError, match=r"labels: no file 'nowhere\.txt'"):
        read_labels("nowhere.txt")


@pytest.mark.skipif(not REAL, reason="UTR_ONNX_DETECTOR names no folder with an .onnx and an .npy file")
def test_a_real_export_runs_and_is_steady() -> None:
    (model,), (anchors,) = Path(REAL).glob("*.onnx"), Path(REAL).glob("*.npy")
    export = Export(model=str(model), anchors=str(anchors), labels=COCO91, pixels=(-1.0, 1.0), resize="stretch")
    detector = OnnxDetector(export, threads=1)
    noise = np.random.default_rng(0).integers(0, 256, (3, 272, 640, 3), np.uint8)
    assert detector.find(noise, least_score=0.3) == detector.find(noise, least_score=0.3)
    assert detector.find(np.zeros((1, 272, 640, 3), np.uint8), least_score=0.5) == [()]
