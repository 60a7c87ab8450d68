"""SAM2 follows masks through a clip, through transformers and without torchvision (arXiv 2408.00714).

Its processors in transformers need torchvision, so frames and boxes are brought to the model's size here, by the
numbers of preprocessor_config.json. A frame is made into pixels when it is read, and what no later frame looks at is
let go: whole, a clip takes 12 MB a frame, and its masks in full size 4 MB for each subject and frame.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import Sam2VideoInferenceSession, Sam2VideoModel

from schemas.clip import Box
from stages.algorithms.mask_tracks import Mask
from stages.models.checkpoint import beside
from stages.models.expert_weights import BadExpert, ExpertWeights
from stages.models.family import check_whole
from stages.models.hf_detector import ready
from stages.models.pixels import PixelRule

BILINEAR = 2  # PIL's number, where the checkpoint names no filter
BOX_CORNERS = (2, 3)  # how SAM2 labels points that are the corners of a box


class Sam2Segmenter:
    """Holds the model, float32."""

    def __init__(self, weights: ExpertWeights, *, device: str, threads: int) -> None:
        self._device = ready(device, threads)
        try:
            model_class: Any = Sam2VideoModel
            model, info = model_class.from_pretrained(
                weights.path, dtype=torch.float32, output_loading_info=True, **weights.hub
            )
            check_whole(weights.path, info)
            self._rule = _pixel_rule(weights, int(model.config.image_size))
        except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
            raise BadExpert(f"model {weights.path!r} cannot be used: {error}") from error
        self._model: Any = model.eval().to(self._device)

    def watch(self, frames_THWC: np.ndarray) -> "Sam2Session":
        """A clip's frames, uint8 RGB, in which nothing was begun yet."""
        return Sam2Session(self._model, self._rule, frames_THWC, self._device)


class Sam2Session:
    """One clip; see stages/algorithms/mask_tracks.py for what is asked of it."""

    def __init__(self, model: Any, rule: PixelRule, frames_THWC: np.ndarray, device: torch.device) -> None:
        self._model, self._rule, self._device = model, rule, device
        self._height_px, self._width_px = frames_THWC.shape[1:3]
        self._session: Any = Sam2VideoInferenceSession(
            video_height=self._height_px, video_width=self._width_px, inference_device=device,
            inference_state_device=device, video_storage_device="cpu", dtype=torch.float32,
        )  # fmt: skip
        self._session.processed_frames = _Pixels(frames_THWC, rule)
        # The frames before the last that memory attention looks at: masks of some, pointers of others.
        self._reach = max(model.num_maskmem, model.config.max_object_pointers_in_encoder)

    def step(self, frame: int) -> dict[int, Mask]:
        """The masks of all subjects at the next frame."""
        return self._read(frame)

    def begin(self, frame: int, boxes: Mapping[int, Box]) -> dict[int, Mask]:
        """Begins subjects at the frame of the last step; the masks of these."""
        scale = self._rule.side_px / np.array([self._width_px, self._height_px] * 2)
        for number, box in boxes.items():
            corners = torch.tensor(np.array(box) * scale, dtype=torch.float32).reshape(1, 1, 2, 2)
            labels = torch.tensor(BOX_CORNERS, dtype=torch.int32).reshape(1, 1, 2)
            index = self._session.obj_id_to_idx(number)
            self._session.add_point_inputs(index, frame, {"point_coords": corners, "point_labels": labels})
        self._session.obj_with_new_inputs = list(boxes)
        masks = self._read(frame)
        return {number: masks[number] for number in boxes}

    def _read(self, frame: int) -> dict[int, Mask]:
        with torch.inference_mode():
            output = self._model(inference_session=self._session, frame_idx=frame)
            logits = torch.nn.functional.interpolate(
                output.pred_masks.float(), (self._height_px, self._width_px), mode="bilinear", align_corners=False
            )
        masks_NHW = (logits[:, 0] > 0).cpu().numpy()
        scores_N = output.object_score_logits.float().sigmoid().flatten().cpu().numpy()
        self._forget(frame)
        return {
            number: Mask(mask_HW, float(score))
            for number, mask_HW, score in zip(output.object_ids, masks_NHW, scores_N, strict=True)
        }

    def _forget(self, frame: int) -> None:
        for outputs in self._session.output_dict_per_obj.values():
            for stored in outputs.values():
                for kept in stored.values():
                    kept.pop("high_res_masks", None)
            tracked = outputs["non_cond_frame_outputs"]
            for old in [t for t in tracked if t < frame - self._reach]:
                del tracked[old]


class _Pixels:
    """A clip as the session asks for it: frame by frame, (3, side, side) float32."""

    def __init__(self, frames_THWC: np.ndarray, rule: PixelRule) -> None:
        self._frames_THWC, self._rule = frames_THWC, rule

    def __len__(self) -> int:
        return len(self._frames_THWC)

    def __getitem__(self, frame: int) -> torch.Tensor:
        return self._rule.tensor(self._frames_THWC[frame : frame + 1])[0]


def _pixel_rule(weights: ExpertWeights, side_px: int) -> PixelRule:
    path = beside(weights.path, "preprocessor_config.json", weights.commit)
    if path is None:
        raise ValueError("it has no preprocessor_config.json")
    told = json.loads(path.read_text(encoding="utf-8"))
    size = told["size"]
    if (size["height"], size["width"]) != (side_px, side_px):
        raise ValueError(f"frames of {dict(size)} px are not the model's squares of {side_px} px")
    mean, std = (_three(told, name) for name in ("image_mean", "image_std"))
    return PixelRule(side_px, mean, std, int(told.get("resample", BILINEAR)))


def _three(told: Mapping[str, Any], name: str) -> tuple[float, ...]:
    values: Sequence[float] = told[name]
    if len(values) != 3:
        raise ValueError(f"preprocessor_config.json: {name} has {len(values)} numbers, not 3")
    return tuple(float(v) for v in values)
