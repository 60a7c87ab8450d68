"""Pixels against transformers' own image processors (PIL backend) and its video processors' patch order."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlavaOnevisionImageProcessorPil, Qwen2VLImageProcessorPil
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

from stages.models.checkpoint import EMBEDDED
from stages.models.pixels import AREA, PatchRule, PixelRule
from stages.models.qwen_vl import patches

SIZES = [(60, 90), (28, 28), (17, 200), (1080, 1920), (480, 272)]


def _frames(size_HW: tuple[int, int], n: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *size_HW, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side_px", [14, 16])
def test_qwen_patches_are_those_of_the_image_processor(tmp_path: Path, size: tuple[int, int], side_px: int) -> None:
    bounds = {"shortest_edge": 56 * 56, "longest_edge": 12_845_056}
    Qwen2VLImageProcessorPil(patch_size=side_px, size=bounds).save_pretrained(tmp_path)
    most = 256 * (2 * side_px) ** 2
    rule = PatchRule.load(str(tmp_path), factor_px=2 * side_px, max_pixels=most)
    frames = _frames(size, n=1)
    ours = rule.tensor(frames)
    theirs = Qwen2VLImageProcessorPil(patch_size=side_px, size={**bounds, "longest_edge": most})(
        images=list(frames), return_tensors="pt"
    )
    _, rows, columns = theirs["image_grid_thw"][0].tolist()
    assert ours.shape[-2:] == (rows * side_px, columns * side_px)
    assert rows * columns <= 4 * 256
    twice = patches(torch.stack([ours, ours], dim=1), side_px, 2)
    torch.testing.assert_close(twice, theirs["pixel_values"], atol=1e-6, rtol=0)


def test_pairs_of_frames_have_the_video_processors_patch_order() -> None:
    video_TCHW = torch.randn(6, 3, 64, 96)
    ours = patches(video_TCHW.unflatten(0, (3, 2)), 16, 2)
    nobody: Any = SimpleNamespace()  # the processor itself needs torchvision, its patch order does not
    theirs, *grid = Qwen3VLVideoProcessor.patchify(nobody, video_TCHW[None], 16, 2, 2)
    assert grid == [3, 4, 6]
    assert torch.equal(ours, theirs[0])


@pytest.mark.parametrize("size", SIZES)
def test_onevision_frames_are_the_image_processors(tmp_path: Path, size: tuple[int, int]) -> None:
    processor = LlavaOnevisionImageProcessorPil(size={"height": 84, "width": 84})
    processor.save_pretrained(tmp_path)
    frames = _frames(size)
    pixels = processor(images=list(frames), return_tensors="pt")["pixel_values"]
    # The first of an image's tiles is the whole image, resized: what a frame of a video is.
    whole = torch.stack([tiles[0] for tiles in pixels])
    torch.testing.assert_close(PixelRule.load(str(tmp_path)).tensor(frames), whole, atol=1e-6, rtol=0)


def test_the_embedded_scorer_keeps_its_area_filter() -> None:
    rule = PixelRule.load(str(EMBEDDED))
    assert rule.resample == AREA
    frames = _frames((2 * rule.side_px, 2 * rule.side_px))
    mean = frames.reshape(2, rule.side_px, 2, rule.side_px, 2, 3).astype(float).mean((2, 4))
    assert np.abs(rule.resize(frames) - mean).max() <= 0.5


def test_a_processor_whose_rule_is_not_known_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "PixtralImageProcessor"}')
    with pytest.raises(ValueError, match=r"PixtralImageProcessor .* torchvision .*pip install"):
        PixelRule.load(str(tmp_path))
    Qwen2VLImageProcessorPil(do_normalize=False).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="leaves out one of do_resize, do_rescale, do_normalize"):
        PatchRule.load(str(tmp_path), factor_px=28, max_pixels=28**2)
