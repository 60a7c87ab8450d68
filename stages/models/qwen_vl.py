"""What Qwen-VL families share: merged frame pairs, patches, and positions on three axes.

The vision tower merges two consecutive frames of what is shown into one unit, as the checkpoint's processor does: a
context (a, b, c) is the pairs (a, b), (c, c); a single frame is given twice. The tower's attention stays inside a
pair, so each distinct pair goes through it once a clip: single frames and the plan's own pairs are shared by all
contexts that show them, an order that pairs other frames costs its own pairs. All contexts of a clip are shown in one
size. Positions come from the model's own rule, asked for the prefix and one more token.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from transformers import PreTrainedModel

from stages.models.family import Family, Shown, Unit
from stages.models.pixels import PatchRule

TOKENS_A_UNIT = 256  # at most, where no max_pixels is given: 32 frames are 4096 tokens


class QwenVL(Family):
    """Pairs, patches, three axes."""

    mark = "<|video_pad|>"
    image_mark = "<|image_pad|>"
    wrapped = "<|vision_start|><|video_pad|><|vision_end|>"
    tells_time: ClassVar[bool] = True

    @classmethod
    def pixel_rule(cls, path: str, model: PreTrainedModel, max_pixels: int | None, **hub: Any) -> PatchRule:
        vision: Any = model.config.vision_config
        factor = vision.patch_size * vision.spatial_merge_size
        return PatchRule.load(path, factor_px=factor, max_pixels=max_pixels or TOKENS_A_UNIT * factor**2, **hub)

    def units(self, index: Sequence[int]) -> tuple[Unit, ...]:
        return tuple((a, index[i + 1] if i + 1 < len(index) else a) for i, a in enumerate(index) if i % 2 == 0)

    def grid(self, pixels_TCHW: torch.Tensor) -> tuple[int, int]:
        height, width = pixels_TCHW.shape[-2:]
        return height // self.pixel.factor_px, width // self.pixel.factor_px

    def encode_units(self, pixels_UmCHW: torch.Tensor) -> torch.Tensor:
        """(U, p, F): the merged tokens and, where a family has them, the deeper layers' beside them."""
        vision: Any = self.model.config.vision_config
        n, _, _, height, width = pixels_UmCHW.shape
        side = vision.patch_size
        grid = torch.tensor([[n, height // side, width // side]], device=pixels_UmCHW.device)
        out: Any = self.model.model.get_video_features(patches(pixels_UmCHW, side, vision.spatial_merge_size), grid)
        levels = [out.pooler_output[0], *(level[0] for level in getattr(out, "deepstack_features", None) or ())]
        return torch.cat(levels, dim=-1).unflatten(0, (n, -1))

    def positions(self, token_id: Sequence[int], shown: Shown, grid_HW: tuple[int, int]) -> tuple[torch.Tensor, int]:
        if not shown.index:
            return torch.arange(len(token_id)).expand(3, -1), len(token_id)
        units = len(self.units(shown.index))
        grid = {"video_grid_thw": self._grid_THW(units, grid_HW)}
        return self._placed(token_id, self.video_id, 2, **grid, **self.clock(shown))

    def image_positions(self, token_id: Sequence[int], grid_HW: tuple[int, int]) -> tuple[torch.Tensor, int]:
        return self._placed(token_id, self.image_id, 1, image_grid_thw=self._grid_THW(1, grid_HW))

    def _grid_THW(self, units: int, grid_HW: tuple[int, int]) -> torch.Tensor:
        """As the model's own rule takes it: in patches that are not yet merged."""
        merge = self.model.config.vision_config.spatial_merge_size
        return torch.tensor([[units, grid_HW[0] * merge, grid_HW[1] * merge]])

    def _placed(self, token_id: Sequence[int], mark_id: int, kind: int, **grid: Any) -> tuple[torch.Tensor, int]:
        """Positions by the model's own rule; `kind` is what it calls tokens of an image, 1, and of a video, 2."""
        ids = torch.tensor([[*token_id, self.pad_id]])
        position, _ = self.model.model.get_rope_index(
            input_ids=ids, mm_token_type_ids=(ids == mark_id).int() * kind, **grid
        )
        return position[:, 0, :-1], int(position[0, 0, -1])

    def clock(self, shown: Shown) -> dict[str, Any]:
        """What the model's rule for positions is told about time."""
        return {}


def patches(pixels_UmCHW: torch.Tensor, side_px: int, merge: int) -> torch.Tensor:
    """(U * rows * columns, C * m * side * side): patches in the order in which `merge` x `merge` of them become one."""
    n, m, c, height, width = pixels_UmCHW.shape
    rows, columns = height // (side_px * merge), width // (side_px * merge)
    split = pixels_UmCHW.reshape(n, m, c, rows, merge, side_px, columns, merge, side_px)
    return split.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, c * m * side_px**2)
