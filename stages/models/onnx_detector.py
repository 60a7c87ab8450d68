"""Detectors as ONNX files on the CPU: an SSD-style export gives a box and a score for each class at many places.

What an export must be: one input of one size, uint8 or float32, RGB, batch first, channels first or last; two outputs,
boxes (B, N, 4) and probabilities (B, N, classes). With `anchors` (N, 4) the boxes are SSD codes against them, as
TensorFlow's detection API and its converters write them; without, corners x1, y1, x2, y2 in 0..1 of the input. Doubles
are suppressed here, so the export needs no such step; one that has it is refused by the shapes of its outputs.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from stages.algorithms.ssd import RESIZES, decoded, fitted
from stages.models.detector import Found, without_doubles

BATCH_FRAMES = 8  # of an export that takes any number: bounds the memory, 300 x 300 float32 input is 1 MB a frame
SLACK = 1e-3  # by which a probability may miss 0..1


class BadExport(ValueError):
    """The file is no detector that can be read; the message names it, what it has, and what is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A detector's file and what the file does not say itself."""

    model: str
    anchors: str  # "": its boxes are corners
    labels: tuple[str, ...]  # by score column, "" for those that name nothing
    pixels: tuple[float, float]  # what black and white are in the input
    resize: str  # "stretch" | "letterbox"

    def __post_init__(self) -> None:
        for what, path in (("model", self.model), ("anchors", self.anchors)):
            if (what == "model" or path) and not Path(path).is_file():
                raise ValueError(f"{what}: no file {path!r}; give the path of the detector's {what}")
        if self.resize not in RESIZES:
            raise ValueError(f"resize {self.resize!r} is none of {', '.join(RESIZES)}")
        if len(self.pixels) != 2 or not self.pixels[0] < self.pixels[1]:
            raise ValueError(f"pixels={list(self.pixels)} are no values of black and white, as in [-1, 1] or [0, 255]")
        if find_spec("onnxruntime") is None:
            raise ValueError("expert onnx needs ONNX Runtime: pip install 'utr-engine[onnx]'")

    @property
    def revision(self) -> str:
        """Twelve digits of the hash of model and anchors."""
        digest = hashlib.sha256()
        for path in filter(None, (self.model, self.anchors)):
            digest.update(Path(path).read_bytes())
        return digest.hexdigest()[:12]


class OnnxDetector:
    """A session with `threads` threads; reads the export once, and checks it on a black picture."""

    def __init__(self, export: Export, threads: int) -> None:
        import onnxruntime as ort
        from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors  # type: ignore[attr-defined]

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would take the cores
        self._export = export
        try:
            self._session = ort.InferenceSession(export.model, options, providers=["CPUExecutionProvider"])
        except (
            ort_errors.Fail,
            ort_errors.InvalidArgument,
            ort_errors.InvalidGraph,
            ort_errors.InvalidProtobuf,
            ort_errors.NotImplemented,
            ort_errors.RuntimeException,
        ) as error:
            raise BadExport(f"{export.model} cannot be loaded: {error}") from error
        self._anchors_N4 = np.load(export.anchors).astype(np.float64) if export.anchors else None
        self._input = self._read_input()
        black_HWC = np.zeros((self._input.height_px, self._input.width_px, 3), np.uint8)
        next(self._run([black_HWC]))

    def find(
        self, frames_THWC: np.ndarray, *, least_score: float, classes: Sequence[str] = ()
    ) -> list[tuple[Found, ...]]:
        """For each uint8 RGB frame what is there, best first; of these classes only, where some are named."""
        wanted = [k for k, label in enumerate(self._export.labels) if label and (not classes or label in classes)]
        found: list[tuple[Found, ...]] = []
        for start in range(0, len(frames_THWC), self._input.batch):
            frames = frames_THWC[start : start + self._input.batch]
            placed = [fitted(f, self._input.width_px, self._input.height_px, self._export.resize) for f in frames]
            for frame, (_, placement), (boxes_N4, scores_NC) in zip(
                frames, placed, self._run([image for image, _ in placed]), strict=True
            ):
                size = np.array([self._input.width_px, self._input.height_px] * 2)
                boxes_N4 = placement.back(boxes_N4 * size)
                found.append(self._kept(boxes_N4, scores_NC, wanted, least_score, frame.shape))
        return found

    def _kept(
        self,
        boxes_N4: np.ndarray,
        scores_NC: np.ndarray,
        wanted: Sequence[int],
        least_score: float,
        shape: tuple[int, ...],
    ) -> tuple[Found, ...]:
        at_M, column_M = np.nonzero(scores_NC[:, wanted] >= least_score)
        return without_doubles(
            boxes_N4[at_M],
            [self._export.labels[wanted[k]] for k in column_M.tolist()],
            scores_NC[:, wanted][at_M, column_M],
            vocabulary=self._export.labels,
            frame_size_px=(shape[1], shape[0]),
        )

    def _run(self, images: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each image of the input's size: boxes (N, 4) in 0..1 and probabilities (N, classes)."""
        low, high = self._export.pixels
        padded = [*images, *[images[-1]] * (self._input.fixed_batch - len(images))]
        batch_BHWC = np.stack(padded).astype(np.float32) * ((high - low) / 255.0) + low
        batch = batch_BHWC if self._input.is_channels_last else batch_BHWC.transpose(0, 3, 1, 2)
        values = np.ascontiguousarray(batch.astype(self._input.dtype))
        boxes_BN4, scores_BNC = self._heads(self._session.run(None, {self._input.name: values}))
        for boxes_N4, scores_NC in zip(boxes_BN4[: len(images)], scores_BNC[: len(images)], strict=True):
            boxes_N4 = boxes_N4.astype(np.float64)
            yield boxes_N4 if self._anchors_N4 is None else decoded(boxes_N4, self._anchors_N4), scores_NC

    def _heads(self, outputs: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Boxes and scores among the outputs; raises BadExport where they are not there."""
        shapes = " and ".join(str(np.shape(output)) for output in outputs)
        boxes = [o for o in outputs if np.ndim(o) == 3 and np.shape(o)[2] == 4]
        scores = [o for o in outputs if np.ndim(o) == 3 and np.shape(o)[2] != 4]
        if len(boxes) != 1 or len(scores) != 1 or boxes[0].shape[:2] != scores[0].shape[:2]:
            raise BadExport(
                f"{self._export.model} gives {shapes}; asked for are boxes (B, N, 4) and probabilities "
                "(B, N, classes), without suppression of doubles"
            )
        (boxes_BN4,), (scores_BNC,) = boxes, scores
        if scores_BNC.shape[2] != len(self._export.labels):
            raise BadExport(
                f"{self._export.model} has {scores_BNC.shape[2]} classes, and labels names {len(self._export.labels)}: "
                "give a line for each column of the scores, an empty one for the background"
            )
        if self._anchors_N4 is not None and self._anchors_N4.shape != boxes_BN4.shape[1:]:
            raise BadExport(
                f"{self._export.anchors} has shape {self._anchors_N4.shape}, the boxes {boxes_BN4.shape[1:]}: "
                "they are not of one export"
            )
        if not (np.isfinite(boxes_BN4).all() and np.isfinite(scores_BNC).all()):
            raise BadExport(f"{self._export.model} gives numbers that are not finite")
        if scores_BNC.min() < -SLACK or scores_BNC.max() > 1 + SLACK:
            raise BadExport(
                f"{self._export.model} gives scores from {scores_BNC.min():.2f} to {scores_BNC.max():.2f}, no "
                "probabilities: export it with its softmax or sigmoid"
            )
        return boxes_BN4, scores_BNC

    def _read_input(self) -> "_Input":
        (given, *others) = self._session.get_inputs()
        shape, kinds = given.shape, {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
        sides = shape[1:] if len(shape) == 4 else []
        if (
            others
            or given.type not in kinds
            or sides.count(3) != 1
            or sides[1] == 3
            or not all(isinstance(side, int) for side in sides)
        ):
            raise BadExport(
                f"{self._export.model} takes {given.type} {shape}{' and more' if others else ''}; asked for is one "
                "float32 or uint8 input of one size, (B, 3, height, width) or (B, height, width, 3)"
            )
        if kinds[given.type] is np.uint8 and tuple(self._export.pixels) != (0, 255):
            raise BadExport(
                f"{self._export.model} takes uint8: its pixels are [0, 255], not {list(self._export.pixels)}"
            )
        is_last = sides[2] == 3
        height_px, width_px = sides[:2] if is_last else sides[1:]
        fixed = shape[0] if isinstance(shape[0], int) else 0
        return _Input(given.name, kinds[given.type], is_last, width_px, height_px, fixed)


@dataclass(frozen=True, slots=True)
class _Input:
    name: str
    dtype: type
    is_channels_last: bool
    width_px: int
    height_px: int
    fixed_batch: int  # 0: any number of frames

    @property
    def batch(self) -> int:
        return self.fixed_batch or BATCH_FRAMES
