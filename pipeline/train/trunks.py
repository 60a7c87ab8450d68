"""The real models' bodies with one more way to be called: a pack in, hidden states out.

A pack's pictures pass the vision tower in one call and the projector in one, whatever they are and on every rank; a
pack without pictures sends a blank one and takes none of its tokens, so that all weights get gradients, of 0. All of
it happens inside the body's own `forward`, since ZeRO-3 gathers a weight when the module that owns it is called, in an
order that must be the same on all ranks: `image_newline` is the body's own. Called otherwise, a body does what its
class does.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import LlavaOnevisionModel, Qwen2_5_VLModel, Qwen3VLModel

from pipeline.train.example import Pack, Tiles
from stages.models.family import Family
from stages.models.pixels import PatchRule, PixelRule
from stages.models.qwen_vl import patches


class OneVisionTrunk(LlavaOnevisionModel):
    """Video frames are pooled and end in a newline, images are tiles with newlines: the class's own methods."""

    pixel: PixelRule

    def forward(self, *args: Any, pack: Pack | None = None, **kwargs: Any) -> Any:
        return super().forward(*args, **kwargs) if pack is None else self._read(pack)

    def _read(self, pack: Pack) -> torch.Tensor:
        """(S, D)."""
        embeds_SD = self.get_input_embeddings()(pack.token_id_S)
        visual_ND = self.pictures([e.tiles for e in pack.examples if e.tiles is not None], embeds_SD.device)
        embeds_SD = filled(embeds_SD, _at_pictures(self.config, pack.token_id_S), visual_ND)
        return self.language_model(
            inputs_embeds=embeds_SD[None], position_ids=pack.position_AS, attention_mask=None, use_cache=False
        ).last_hidden_state[0]

    def pictures(self, media: Sequence[Tiles], device: torch.device) -> torch.Tensor:
        """(N, D): the visual tokens of all media, newlines included."""
        side = self.pixel.side_px
        shown = media or [Tiles("video", np.zeros((1, side, side, 3), np.uint8), (side, side))]
        pixels = torch.cat([normalised(m.tiles_NHWC, self.pixel, device) for m in shown])
        features_NpD = self.multi_modal_projector(self._tower(pixels))
        parts = features_NpD.split([len(m.tiles_NHWC) for m in shown])
        visual_ND = torch.cat([self._tokens(m, part) for m, part in zip(shown, parts, strict=True)])
        return visual_ND if media else visual_ND[:0]

    def _tower(self, pixels_NCHW: torch.Tensor) -> torch.Tensor:
        """(N, p, F): of the layers that the config names."""
        states = self.vision_tower(pixels_NCHW, output_hidden_states=True, return_dict=True).hidden_states
        layer = self.config.vision_feature_layer
        features = states[layer] if isinstance(layer, int) else torch.cat([states[k] for k in layer], dim=-1)
        return features[:, 1:] if self.config.vision_feature_select_strategy == "default" else features

    def _tokens(self, tiles: Tiles, features_NpD: torch.Tensor) -> torch.Tensor:
        if tiles.kind == "video":
            return torch.cat([self.apply_pooling(features_NpD).flatten(0, 1), self.image_newline[None]])
        (tokens_ND,), _ = self.pack_image_features(
            [features_NpD], [tiles.size_HW], self.image_newline, self.config.vision_aspect_ratio
        )
        return tokens_ND


class Qwen25Trunk(Qwen2_5_VLModel):
    pixel: PatchRule

    def forward(self, *args: Any, pack: Pack | None = None, **kwargs: Any) -> Any:
        return super().forward(*args, **kwargs) if pack is None else _read_patches(self, pack)


class Qwen3Trunk(Qwen3VLModel):
    """Its tower's deeper features are added on the way through the language model, which reads them from a list."""

    pixel: PatchRule

    def forward(self, *args: Any, pack: Pack | None = None, **kwargs: Any) -> Any:
        return super().forward(*args, **kwargs) if pack is None else _read_patches(self, pack)


TRUNKS: dict[type[nn.Module], type[nn.Module]] = {
    LlavaOnevisionModel: OneVisionTrunk,
    Qwen2_5_VLModel: Qwen25Trunk,
    Qwen3VLModel: Qwen3Trunk,
}


def reads_packs(family: Family) -> None:
    """Exchanges the class of the model's body, in place: weights and their names stay."""
    body = family.model.model
    kind = type(body)
    if kind not in TRUNKS and kind not in TRUNKS.values():
        raise ValueError(
            f"{kind.__name__} can be scored, not trained: trained are {', '.join(t.__name__ for t in TRUNKS)}"
        )
    body.__class__ = TRUNKS.get(kind, kind)
    body.pixel = family.pixel


def normalised(tiles_NHWC: Any, rule: PixelRule | PatchRule, device: torch.device) -> torch.Tensor:
    """(N, C, H, W), float32, as the rule does it; bytes cross to the device, not floats."""
    pixels = torch.from_numpy(tiles_NHWC).to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255.0
    centre, spread = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (rule.mean, rule.std))
    return (pixels - centre) / spread


def filled(embeds_SD: torch.Tensor, at_S: torch.Tensor, visual_ND: torch.Tensor) -> torch.Tensor:
    """Features in the places of their marks, in order; raises where there are not as many."""
    if int(at_S.sum()) != len(visual_ND):
        raise ValueError(
            f"{int(at_S.sum())} places for visual tokens, {len(visual_ND)} visual tokens: another encoder?"
        )
    return embeds_SD.masked_scatter(at_S[:, None], visual_ND.to(embeds_SD.dtype))


def _at_pictures(config: Any, token_id_S: torch.Tensor) -> torch.Tensor:
    return (token_id_S == config.video_token_id) | (token_id_S == config.image_token_id)


def _read_patches(body: Any, pack: Pack) -> torch.Tensor:
    """(S, D) of a Qwen-VL body. Which tokens see each other is told by the first row of positions, which count."""
    embeds_SD = body.get_input_embeddings()(pack.token_id_S)
    media = [e.tiles for e in pack.examples if e.tiles is not None]
    flat, grid_N3 = _patched(media, body.pixel, body.config.vision_config, embeds_SD.device)
    out = body.visual(flat.to(embeds_SD.dtype), grid_thw=grid_N3, return_dict=True)
    levels = [out.pooler_output, *(getattr(out, "deepstack_features", None) or ())]
    levels = levels if media else [level[:0] for level in levels]
    at_S = _at_pictures(body.config, pack.token_id_S)
    embeds_SD = filled(embeds_SD, at_S, levels[0])
    deep = {"visual_pos_masks": at_S[None], "deepstack_visual_embeds": levels[1:]} if levels[1:] else {}
    position = torch.cat([counted(pack.segment_S)[None], pack.position_AS])
    return body.language_model(
        inputs_embeds=embeds_SD[None], position_ids=position[:, None], attention_mask=None, use_cache=False, **deep
    ).last_hidden_state[0]


def counted(segment_S: torch.Tensor) -> torch.Tensor:
    """0, 1, 2, ... in each segment."""
    index = torch.arange(len(segment_S), device=segment_S.device)
    begins = torch.ones_like(segment_S, dtype=torch.bool)
    begins[1:] = segment_S[1:] != segment_S[:-1]
    return index - torch.where(begins, index, 0).cummax(0).values


def _patched(
    media: Sequence[Tiles], rule: PatchRule, vision: Any, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches of all pictures and their grids, (time, rows, columns) in patches; of none, those of a blank one."""
    side, merge = vision.patch_size, vision.spatial_merge_size
    blank = np.zeros((1, merge * side, merge * side, 3), np.uint8)
    flat, grids = [], []
    for tiles in media or [Tiles("image", blank, (merge * side, merge * side))]:
        pixels = normalised(tiles.tiles_NHWC, rule, device)
        pairs = torch.cat([pixels, pixels[-1:]]) if len(pixels) % 2 else pixels  # an odd one is its own neighbour
        flat.append(patches(pairs.unflatten(0, (-1, 2)), side, merge))
        grids.append([len(pairs) // 2, pixels.shape[-2] // side, pixels.shape[-1] // side])
    return torch.cat(flat), torch.tensor(grids, device=device)
