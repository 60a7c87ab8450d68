"""Frames to pixels as a checkpoint's own image processor makes them, with PIL and numpy: no torchvision."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from transformers import LlavaOnevisionImageProcessorPil, Qwen2VLImageProcessorPil, SiglipImageProcessorPil

AREA = -1  # no filter of PIL


@dataclass(frozen=True, slots=True)
class PixelRule:
    """A square of `side_px`, then (x / 255 - mean) / std.

    `resample` is PIL's number of the checkpoint's filter, or AREA: the mean over each pixel's own area, which this
    project's own scorers were trained with. AREA needs OpenCV: numpy gives another grey level in one pixel of eight
    where a side is halved (ties), and takes 100 times as long.
    """

    side_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: int = AREA

    @classmethod
    def load(cls, path: str, **hub: Any) -> "PixelRule":
        """From preprocessor_config.json. A Siglip processor marks a checkpoint that this project trained."""
        values, _ = SiglipImageProcessorPil.get_image_processor_dict(path, **hub)
        kind = str(values.get("image_processor_type"))
        if kind.startswith("SiglipImageProcessor"):
            processor: Any = SiglipImageProcessorPil.from_dict(values)
            resample = AREA
        elif kind.startswith("LlavaOnevisionImageProcessor"):
            processor = LlavaOnevisionImageProcessorPil.from_dict(values)
            resample = int(processor.resample)
        else:
            raise ValueError(_unknown(path, kind))
        return cls._of(path, processor, resample)

    @classmethod
    def of_tower(cls, path: str, **hub: Any) -> "PixelRule":
        """Of a published SigLIP, with the filter that it names: LLaVA-OneVision's own, where one begins with it."""
        processor = SiglipImageProcessorPil.from_pretrained(path, **hub)
        return cls._of(path, processor, int(processor.resample))

    @classmethod
    def _of(cls, path: str, processor: Any, resample: int) -> "PixelRule":
        _check_steps(path, processor)
        size = processor.size
        if size["height"] != size["width"]:
            raise ValueError(f"{path}: frames of {dict(size)} px are no squares")
        return cls(size["height"], tuple(processor.image_mean), tuple(processor.image_std), resample)

    def size(self, height_px: int, width_px: int) -> tuple[int, int]:
        """Height and width that frames of a size are brought to."""
        return self.side_px, self.side_px

    def resize(self, frames_THWC: np.ndarray) -> np.ndarray:
        return _resized(frames_THWC, self.size(*frames_THWC.shape[1:3]), self.resample)

    def tensor(self, frames_THWC: np.ndarray) -> torch.Tensor:
        return self.normalise(self.resize(frames_THWC))

    def normalise(self, small_THWC: np.ndarray) -> torch.Tensor:
        return _normalised(small_THWC, self.mean, self.std)


@dataclass(frozen=True, slots=True)
class PatchRule:
    """Sides that are multiples of `factor_px`, at most `max_pixels` a frame, then (x / 255 - mean) / std.

    `image_pixels` is the processor's own upper bound, for a single image.
    """

    factor_px: int
    min_pixels: int
    max_pixels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: int
    image_pixels: int = field(default=0, repr=False)  # not told: scores name their rule, and have none for images

    @classmethod
    def load(cls, path: str, *, factor_px: int, max_pixels: int, **hub: Any) -> "PatchRule":
        """From preprocessor_config.json; its own upper bound is for single images, so ours holds where it is lower."""
        values, _ = Qwen2VLImageProcessorPil.get_image_processor_dict(path, **hub)
        kind = str(values.get("image_processor_type"))
        if not kind.startswith("Qwen2VLImageProcessor"):
            raise ValueError(_unknown(path, kind))
        processor: Any = Qwen2VLImageProcessorPil.from_dict(values)
        _check_steps(path, processor)
        if processor.patch_size * processor.merge_size != factor_px:
            raise ValueError(f"{path}: the processor's patches ({processor.patch_size} px) are not the model's")
        most = min(max_pixels, processor.size["longest_edge"])
        least = min(most, processor.size["shortest_edge"])
        return cls(
            factor_px, least, most, tuple(processor.image_mean), tuple(processor.image_std), int(processor.resample),
            processor.size["longest_edge"],
        )  # fmt: skip

    def for_images(self, max_pixels: int) -> "PatchRule":
        """The rule of single images, which may be larger than frames: of at most so many pixels."""
        return replace(self, max_pixels=min(max_pixels, self.image_pixels))

    def size(self, height_px: int, width_px: int) -> tuple[int, int]:
        """Height and width that frames of a size are brought to."""
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

        return smart_resize(height_px, width_px, self.factor_px, self.min_pixels, self.max_pixels)

    def resize(self, frames_THWC: np.ndarray) -> np.ndarray:
        return _resized(frames_THWC, self.size(*frames_THWC.shape[1:3]), self.resample)

    def tensor(self, frames_THWC: np.ndarray) -> torch.Tensor:
        return _normalised(self.resize(frames_THWC), self.mean, self.std)


def _resized(frames_THWC: np.ndarray, size_HW: tuple[int, int], resample: int) -> np.ndarray:
    height, width = size_HW
    if resample == AREA:
        import cv2  # imported here: the engine runs without it on checkpoints of others

        return np.stack([cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in frames_THWC])
    from PIL import Image

    return np.stack([np.asarray(Image.fromarray(f).resize((width, height), resample)) for f in frames_THWC])


def _normalised(small_THWC: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    pixels = torch.from_numpy(small_THWC).permute(0, 3, 1, 2).float() / 255.0
    centre, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
    return (pixels - centre) / spread


def _check_steps(path: str, processor: Any) -> None:
    steps = ("do_resize", "do_rescale", "do_normalize")
    if not all(getattr(processor, step) for step in steps) or abs(processor.rescale_factor * 255 - 1) > 1e-6:
        raise ValueError(f"{path}: a processor that leaves out one of {', '.join(steps)} is not supported")


def _unknown(path: str, kind: str) -> str:
    return (
        f"{path}: the rule of image processor {kind} is not known here. It needs its own code with torchvision "
        "(pip install 'utr-engine[experts]'); supported without: Siglip, LlavaOnevision and Qwen2VL processors"
    )
