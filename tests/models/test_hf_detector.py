"""Detectors of transformers: their answers are read right, batches change nothing, no torchvision is asked for."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoTokenizer,
    GroundingDinoImageProcessorPil,
    Owlv2ImageProcessorPil,
    RTDetrConfig,
    RTDetrImageProcessorPil,
)

from stages.models.detector import without_doubles
from stages.models.expert_weights import BadExpert, find_weights
from stages.models.hf_detector import BATCH_FRAMES, KINDS, HfDetector
from stages.models.hf_heads import GroundedWords, KnownWords, OwlWords
from tests.models import tiny_detectors

ASKED = ("person", "traffic light")
SIZE = (60, 120)  # height and width


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("detectors")
    return {kind: tiny_detectors.write(root / kind, kind) for kind in tiny_detectors.KINDS}


def _load(folder: Path, words: Sequence[str] = ASKED) -> HfDetector:
    return HfDetector(find_weights(str(folder), "", ""), words, device="cpu", threads=1)


def _frames(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *SIZE, 3), np.uint8)


@pytest.mark.parametrize("kind", tiny_detectors.KINDS)
def test_a_frame_is_read_alike_in_any_batch_and_boxes_lie_in_it(folders: dict[str, Path], kind: str) -> None:
    detector, frames = _load(folders[kind]), _frames(BATCH_FRAMES + 2)
    found = detector.find(frames, least_score=0.02)
    assert sum(map(len, found)) > 0
    words = set(tiny_detectors.LABELS.values()) if kind.startswith("rt_detr") else set(ASKED)
    for things in found:
        assert {thing.label for thing in things} <= words
        assert [thing.score for thing in things] == sorted((thing.score for thing in things), reverse=True)
        for x1, y1, x2, y2 in (thing.box_xyxy_px for thing in things):
            assert 0 <= x1 < x2 <= SIZE[1]
            assert 0 <= y1 < y2 <= SIZE[0]
    alone = [detector.find(frame[None], least_score=0.02)[0] for frame in frames]
    for together, single in zip(found, alone, strict=True):
        assert [t.label for t in together] == [t.label for t in single]
        for one, other in zip(together, single, strict=True):
            assert one.box_xyxy_px == pytest.approx(other.box_xyxy_px, abs=1e-2)
            assert one.score == pytest.approx(other.score, abs=1e-4)
    assert detector.find(frames, least_score=0.02) == found


@pytest.mark.parametrize("kind", tiny_detectors.KINDS)
def test_classes_and_scores_are_filters(folders: dict[str, Path], kind: str) -> None:
    detector, frame = _load(folders[kind]), _frames(1)
    every = detector.find(frame, least_score=0.02)[0]
    middle = sorted(thing.score for thing in every)[len(every) // 2]
    assert all(thing.score > middle for thing in detector.find(frame, least_score=middle)[0])
    assert {thing.label for thing in detector.find(frame, least_score=0.02, classes=("person",))[0]} <= {"person"}
    assert detector.find(frame, least_score=0.02, classes=("nothing",)) == [()]


def _answer(logits: Sequence[Sequence[float]], boxes: Sequence[Sequence[float]]) -> Any:
    return SimpleNamespace(logits=torch.tensor([logits]), pred_boxes=torch.tensor([boxes]))


def test_rt_detr_answers_are_placed_in_the_frame() -> None:
    head = KnownWords(RTDetrConfig(id2label=tiny_detectors.LABELS), RTDetrImageProcessorPil(), None, ())
    answer = _answer([[-9, 2, -9], [-9, -9, -9]], [[0.25, 0.5, 0.5, 1.0], [0.5, 0.5, 0.1, 0.1]])
    ((boxes, words, scores),) = head.read(answer, [SIZE], 0.3)
    assert boxes.tolist() == [[0, 0, 60, 60]]
    assert [head.words[k] for k in words] == ["car"]
    assert scores == pytest.approx([torch.tensor(2.0).sigmoid().item()])


def test_owl_answers_are_placed_in_a_frame_that_was_padded_to_a_square(folders: dict[str, Path]) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(folders["owlv2"])
    config = SimpleNamespace(text_config=SimpleNamespace(max_position_embeddings=16))
    head = OwlWords(config, Owlv2ImageProcessorPil(), tokenizer, ASKED)
    # A square of 120 px whose upper half is the frame: its lower left quarter, in the frame's left half.
    ((boxes, words, scores),) = head.read(_answer([[-9.0, 1.0]], [[0.25, 0.375, 0.5, 0.25]]), [SIZE], 0.3)
    assert boxes.tolist() == [[0, 30, 60, 60]]
    assert [head.words[k] for k in words] == ["traffic light"]
    assert scores == pytest.approx([torch.tensor(1.0).sigmoid().item()])
    asked = head.text(3)["input_ids"]
    assert asked.shape == (3 * 2, 16)
    assert tokenizer.decode(asked[1][:8]).split() == ["<s>", "a", "photo", "of", "a", "traffic", "light", "</s>"]
    with pytest.raises(ValueError, match="is 19 tokens, and the detector reads 16"):
        OwlWords(config, Owlv2ImageProcessorPil(), tokenizer, ["car " * 13])


def test_grounding_dino_answers_are_placed_in_the_frame_and_named_by_their_tokens(folders: dict[str, Path]) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(folders["grounding-dino"])
    config = SimpleNamespace(max_text_len=32)
    head = GroundedWords(config, GroundingDinoImageProcessorPil(), tokenizer, ASKED)
    tokens = tokenizer.convert_ids_to_tokens(head.text(1)["input_ids"][0])
    assert tokens == ["[CLS]", "person", ".", "traffic", "light", ".", "[SEP]"]
    logits = [[-9.0] * 32 for _ in range(3)]
    logits[0][4], logits[1][1], logits[2][2] = 1.0, 2.0, 3.0  # light, person, a mark
    answer = _answer(logits, [[0.25, 0.5, 0.5, 1.0], [0.75, 0.25, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]])
    ((boxes, words, _),) = head.read(answer, [SIZE], 0.3)
    assert boxes.tolist() == [[0, 0, 60, 60], [60, 0, 120, 30]]
    assert [head.words[k] for k in words] == ["traffic light", "person"]
    with pytest.raises(ValueError, match="3 words are 9 tokens, and the detector reads 8"):
        GroundedWords(SimpleNamespace(max_text_len=8), None, tokenizer, [*ASKED, "car"])


def test_doubles_of_one_thing_are_one_box() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 200, 10], [-9, -9, -1, -1]], np.float64)
    words, scores = ["car", "car", "person", "car"], np.array([0.5, 0.6, 0.9, 0.9])
    found = without_doubles(boxes, words, scores, vocabulary=("car", "person"), frame_size_px=(100, 50))
    assert [(thing.label, thing.box_xyxy_px) for thing in found] == [
        ("person", (20, 0, 100, 10)),
        ("car", (0, 0, 10, 9)),
    ]


def test_a_checkpoint_that_lacks_weights_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny_detectors.write(tmp_path / "torn", "rt_detr")
    weights = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "class_embed.0" not in k}, folder / "model.safetensors")
    with pytest.raises(BadExpert, match="weights are missing"):
        _load(folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA GPU is there")
def test_a_device_that_is_not_there_is_named(folders: dict[str, Path]) -> None:
    with pytest.raises(BadExpert, match="sees no CUDA GPU"):
        HfDetector(find_weights(str(folders["rt_detr"]), "", ""), (), device="cuda", threads=1)


@pytest.mark.parametrize("kind", tiny_detectors.KINDS)
def test_frames_are_prepared_without_torchvision(folders: dict[str, Path], kind: str) -> None:
    """Where it is installed, transformers would take it by itself, and read other pixels than an install without it."""
    assert type(_load(folders[kind])._processor).__name__.endswith("Pil")
    assert set(KINDS) == set(tiny_detectors.KINDS)
