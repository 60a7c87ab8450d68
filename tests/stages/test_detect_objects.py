"""Detections of films with known truth, and the clips that are declined."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.clip import DetectedClip
from schemas.outcome import Reason, Skip
from stages.algorithms.camera import IDENTITY
from stages.algorithms.motion import FrameMotion
from stages.detect_objects import DetectObjects, detected, doubt_about
from stages.models.expert_weights import find_weights
from stages.models.named_detector import Sight
from tests.models import tiny_detectors
from tests.models.tiny_onnx import write, write_labels
from tests.scenes import Film, Shape, clip_of, iou, line, render

DISC = Shape(kind="disc", rgb=(220, 30, 30), size_px=36, place=line((-20, 60), (110, 10)))


def _detect(film: Film, camera: str, scale: int = 1) -> DetectedClip | Skip:
    return detected(clip_of(film, camera=camera, scale=scale), film.frames_THWC, 0.001)


class FakeFrames:
    """A store that holds one film."""

    def __init__(self, film: Film) -> None:
        self._film = film

    def load(self, clip: object) -> np.ndarray:
        return self._film.frames_THWC


def test_boxes_are_in_pixels_of_the_upright_frame() -> None:
    film = render([DISC])
    row = _detect(film, "static", scale=3)
    assert isinstance(row, DetectedClip)
    for detection in row.detections[2:]:
        truth = film.boxes[detection.frame][0]
        assert truth is not None
        x1, y1, x2, y2 = (3 * side for side in truth)
        assert iou(detection.box_xyxy_px, (x1, y1, x2, y2)) > 0.8
    assert row.detector.startswith("motion/1 (apache-2.0; opencv-python ")
    assert set(row.camera_path) == {IDENTITY}


def test_the_stage_loads_from_the_store_and_keeps_order(tmp_path_factory: pytest.TempPathFactory) -> None:
    film = render([DISC])
    short = render([DISC], seconds=0.4)
    stage = DetectObjects(store_dir=str(tmp_path_factory.mktemp("store")))
    clips = [clip_of(film, camera="static"), clip_of(short, camera="static")]
    rows = stage.process(Sight(FakeFrames(film)), clips)  # type: ignore[arg-type]
    assert isinstance(rows[0], DetectedClip)
    assert rows[1] == Skip(Reason.TOO_FEW_FRAMES, "4 tracking frames < 5")


def test_the_camera_path_is_in_pixels_of_the_upright_frame() -> None:
    shape = Shape(kind="disc", rgb=(220, 30, 30), size_px=36, place=line((300, 60), (-110, 0)))
    row = _detect(render([shape], seconds=2, pan_px_s=(40, 0)), "moving", scale=2)
    assert isinstance(row, DetectedClip)
    # 19 steps of 4 px in the store are 152 px there.
    assert row.camera_path[-1][2] == pytest.approx(152, abs=4)
    assert row.camera_path[-1][5] == pytest.approx(0, abs=4)


@pytest.mark.parametrize("pan_px_s", [(60.0, 10.0), (15.0, 4.0)])
def test_still_shapes_under_a_pan_are_nothing(pan_px_s: tuple[float, float]) -> None:
    still = Shape(kind="square", rgb=(30, 60, 230), size_px=40, place=line((250, 60), (0, 0)))
    row = _detect(render([still], pan_px_s=pan_px_s), "moving")
    assert isinstance(row, Skip)
    assert row.reason is Reason.NO_SUBJECT


def test_a_drifting_picture_that_is_called_static_is_declined() -> None:
    row = _detect(render([DISC], pan_px_s=(8, 2)), "static")
    assert isinstance(row, Skip)
    assert row.reason is Reason.CAMERA_MOVES
    assert "drifts" in row.detail


@pytest.mark.parametrize(
    ("camera", "stray", "reason"),
    [
        ("unknown", 0.06, Reason.CAMERA_MOVES),
        ("unknown", 0.04, None),
        ("moving", 0.16, Reason.CAMERA_MOVES),
        ("static", 0.16, None),
        ("static", 0.26, Reason.CAMERA_MOVES),
    ],
)
def test_changing_ground_is_declined_the_sooner_the_less_is_known(
    camera: str, stray: float, reason: Reason | None
) -> None:
    doubt = doubt_about(camera, [FrameMotion(blobs=(), cover=0.01, stray=stray)] * 9)
    assert (doubt and doubt.reason) == reason


def test_an_unknown_camera_is_static_where_the_ground_does_not_change() -> None:
    assert isinstance(_detect(render([DISC]), "unknown"), DetectedClip)


def test_a_fade_is_no_subject() -> None:
    film = render([], seconds=3)
    light = np.abs(np.linspace(-1, 1, 30))[:, None, None, None]
    row = _detect(Film(frames_THWC=(film.frames_THWC * light).astype(np.uint8), boxes=[], fps=10), "static")
    assert isinstance(row, Skip)
    assert row.reason is Reason.NO_SUBJECT


def test_an_unknown_expert_is_named() -> None:
    with pytest.raises(ValueError, match="no expert 'magic'"):
        DetectObjects(expert="magic", store_dir="unused")


RED_CELL = ((80, 60, 120, 80), (255, 0, 0))  # of the 8 x 8 cells of a 320 x 160 frame: see tests/models/tiny_onnx.py
SMALL_CELL = ((240, 0, 280, 20), (0, 0, 255))


@pytest.fixture
def export(tmp_path: Path) -> dict[str, Any]:
    """Parameters that name a tiny detector: red cells are persons, blue ones cars."""
    model, anchors = write(tmp_path)
    labels = str(write_labels(tmp_path))
    return {"expert": "onnx", "model": str(model), "anchors": str(anchors), "labels": labels, "pixels": (0.0, 1.0)}


def _still(n: int = 6) -> Film:
    """A person and a car that stand, on ground with texture enough to follow a camera by."""
    ground = np.random.default_rng(1).integers(60, 100, (160, 320, 1), np.uint8).repeat(3, axis=2)
    for (x1, y1, x2, y2), rgb in (RED_CELL, SMALL_CELL):
        ground[y1:y2, x1:x2] = rgb
    return Film(frames_THWC=np.stack([ground] * n), boxes=[], fps=10)


def _recognise(stage: DetectObjects, film: Film, camera: str = "static", scale: int = 1) -> DetectedClip | Skip:
    loaded = stage.open()
    sight = Sight(FakeFrames(film), loaded.detector)  # type: ignore[arg-type]
    stage.close(loaded)
    return stage.process(sight, [clip_of(film, camera=camera, scale=scale)])[0]


def test_a_detectors_boxes_are_in_pixels_of_the_upright_frame(export: dict[str, Any], tmp_path: Path) -> None:
    row = _recognise(DetectObjects(**export, store_dir=str(tmp_path / "store")), _still(), scale=2)
    assert isinstance(row, DetectedClip)
    assert [d.label for d in row.detections if d.frame == 3] == ["person", "car"]
    assert {d.frame for d in row.detections} == set(range(6))
    person, car = row.detections[:2]
    assert person.box_xyxy_px == pytest.approx((160, 120, 240, 160), abs=1e-2)
    assert car.box_xyxy_px == pytest.approx((480, 0, 560, 40), abs=1e-2)
    assert person.rgb == (255, 0, 0)
    assert re.fullmatch(r"onnx/cells@[0-9a-f]{12} \(licence not stated; onnxruntime [\d.]+\)", row.detector)
    assert set(row.camera_path) == {IDENTITY}


def test_labels_and_sizes_are_filters(export: dict[str, Any], tmp_path: Path) -> None:
    store: dict[str, Any] = {"store_dir": str(tmp_path / "store")}
    row = _recognise(DetectObjects(**export, **store, classes=("car",)), _still())
    assert isinstance(row, DetectedClip)
    assert {d.label for d in row.detections} == {"car"}
    row = _recognise(DetectObjects(**export, **store, min_side_px={"person": 20.5}), _still())
    assert isinstance(row, DetectedClip)
    assert {d.label for d in row.detections} == {"car"}
    row = _recognise(DetectObjects(**export, **store, min_side_px={"person": 20.5, "car": 21}), _still())
    assert row == Skip(Reason.NO_SUBJECT, "nothing is recognised; 12 boxes are under min_side_px")


def test_a_camera_that_cannot_be_followed_is_declined_for_a_detector_too(
    export: dict[str, Any], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 160, 320, 3), np.uint8)  # every step is lost
    film = Film(frames_THWC=noise, boxes=[], fps=10)
    row = _recognise(DetectObjects(**export, store_dir=str(tmp_path / "store")), film, camera="moving")
    assert isinstance(row, Skip)
    assert row.reason is Reason.CAMERA_MOVES


def test_a_detectors_parameters_are_checked_when_the_recipe_is_read(export: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"labels\.txt has no label 'cat'"):
        DetectObjects(**export, classes=("cat",))
    with pytest.raises(ValueError, match=r"labels\.txt has no label 'cat'"):
        DetectObjects(**export, min_side_px={"cat": 4.0})
    with pytest.raises(ValueError, match=r"model: no file 'gone\.onnx'"):
        DetectObjects(**{**export, "model": "gone.onnx"})
    with pytest.raises(ValueError, match="model is for the expert onnx or hf; this one is motion"):
        DetectObjects(model=export["model"])
    with pytest.raises(ValueError, match="revision is for the expert hf; this one is onnx"):
        DetectObjects(**export, revision="main")


def test_a_plan_knows_its_detector_by_its_bytes(export: dict[str, Any], tmp_path: Path) -> None:
    one = DetectObjects(**export)
    (tmp_path / "moved").mkdir()
    model, anchors = write(tmp_path / "moved")
    moved = DetectObjects(**{**export, "model": str(model), "anchors": str(anchors)})
    assert moved.fingerprint == one.fingerprint
    (tmp_path / "other").mkdir()
    model, anchors = write(tmp_path / "other", is_logits=True)
    assert DetectObjects(**{**export, "model": str(model), "anchors": str(anchors)}).fingerprint != one.fingerprint


def test_a_licence_that_the_recipe_states_is_in_the_row(export: dict[str, Any], tmp_path: Path) -> None:
    row = _recognise(DetectObjects(**export, licence="bsd-3-clause", store_dir=str(tmp_path / "store")), _still())
    assert isinstance(row, DetectedClip)
    assert "(bsd-3-clause; onnxruntime " in row.detector


@pytest.mark.parametrize("kind", tiny_detectors.KINDS)
def test_a_detector_of_transformers_gives_a_row_that_names_it(tmp_path: Path, kind: str) -> None:
    folder = tiny_detectors.write(tmp_path / kind, kind)
    stage = DetectObjects(
        expert="hf", model=str(folder), classes=("person", "car"), score=0.02, store_dir=str(tmp_path / "store")
    )
    row = _recognise(stage, _still(), scale=2)
    assert isinstance(row, DetectedClip)
    assert {d.label for d in row.detections} <= {"person", "car"}
    assert max(max(d.box_xyxy_px) for d in row.detections) > 320  # in pixels of the upright frame, not of the store
    assert re.fullmatch(rf"hf/{kind}@[0-9a-f]{{12}} \(mit; transformers [\d.]+\)", row.detector)
    assert row.detector in str(stage.parameters)


def test_what_a_checkpoint_cannot_be_asked_for_is_said_when_the_recipe_is_read(tmp_path: Path) -> None:
    known = str(tiny_detectors.write(tmp_path / "known", "rt_detr"))
    assert DetectObjects(expert="hf", model=known).words == ("person", "car", "traffic light")
    with pytest.raises(ValueError, match="has no label 'cat'"):
        DetectObjects(expert="hf", model=known, classes=("cat",))
    with pytest.raises(ValueError, match="labels is for the expert onnx; this one is hf"):
        DetectObjects(expert="hf", model=known, labels="mine.txt")
    asked = str(tiny_detectors.write(tmp_path / "asked", "owlv2"))
    with pytest.raises(ValueError, match=r"classes: .* finds what it is asked for; name words"):
        DetectObjects(expert="hf", model=asked)
    with pytest.raises(ValueError, match="has no label 'car'"):
        DetectObjects(expert="hf", model=asked, classes=("person",), min_side_px={"car": 9})
    (tmp_path / "known" / "config.json").write_text('{"model_type": "detr"}')
    find_weights.cache_clear()
    with pytest.raises(ValueError, match="is a detr model; supported are grounding-dino, owlv2, rt_detr, rt_detr_v2"):
        DetectObjects(expert="hf", model=known)


def test_a_checkpoint_without_a_licence_asks_for_one(tmp_path: Path) -> None:
    folder = str(tiny_detectors.write(tmp_path / "plain", "rt_detr", card=""))
    with pytest.raises(ValueError, match=r"licence: .* is not guessed"):
        DetectObjects(expert="hf", model=folder)
    assert "(cc-by-4.0; " in DetectObjects(expert="hf", model=folder, licence="cc-by-4.0").detector_id


def test_a_gpu_is_held_only_where_it_is_asked_for(tmp_path: Path) -> None:
    folder = str(tiny_detectors.write(tmp_path / "plain", "rt_detr"))
    assert DetectObjects().resources.gpus == 0
    assert DetectObjects(expert="hf", model=folder).resources.gpus == 0
    assert DetectObjects(expert="hf", model=folder, device="cuda").resources.gpus == 1
