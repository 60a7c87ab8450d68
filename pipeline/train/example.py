"""What passes from reader to encoder to step: a conversation with its pictures, an example, a pack of examples."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

NO_LABEL = -100


@dataclass(frozen=True, slots=True)
class Media:
    """The pictures of one conversation, as they come from disk: upright RGB, uint8, all of one size."""

    kind: Literal["video", "image"]
    frames_THWC: np.ndarray  # those that are shown; an image is T = 1
    index: tuple[int, ...]  # 0-based planned frames that these are
    times: tuple[str, ...]  # of all planned frames, as questions write them: "2.31 s"
    film: tuple[int, ...] = ()  # planned frames that clocks run over, where these are others: a context of that film


@dataclass(frozen=True, slots=True)
class Shape:
    """What the length of a conversation depends on beside its words: read without decoding a picture."""

    kind: Literal["video", "image"]
    n_frames: int  # of the plan
    index: tuple[int, ...]  # that are shown
    times: tuple[str, ...]
    height_px: int
    width_px: int
    film: tuple[int, ...] = ()  # as in Media


@dataclass(frozen=True, slots=True)
class Conversation:
    source: str  # name of the set in the recipe's mix
    sample_id: str
    family: str
    turns: tuple[tuple[str, str], ...]  # (question, answer), without any mark of the medium
    media: Media | None  # None: text only


@dataclass(frozen=True, slots=True)
class Length:
    """Of one example, as the encoder makes it."""

    n_tokens: int
    n_visual: int
    n_labels: int
    n_tiles: int


@dataclass(frozen=True, slots=True)
class Tiles:
    """The pictures of one conversation as the tower takes them, not yet normalised; how they become tokens is the
    family's matter."""

    kind: Literal["video", "image"]
    tiles_NHWC: np.ndarray  # uint8
    size_HW: tuple[int, int]  # of the picture before it was cut into tiles


@dataclass(frozen=True, slots=True)
class Example:
    source: str
    sample_id: str
    family: str
    token_id_S: np.ndarray  # int64
    label_S: np.ndarray  # int64: the token where it is to be predicted from those before it, else NO_LABEL
    position_AS: np.ndarray  # int64, from 0: one row an axis of the rotary embedding
    tiles: Tiles | None


@dataclass(frozen=True, slots=True)
class Pack:
    """Examples one behind the other: one row of a forward pass, in which none sees another."""

    examples: tuple[Example, ...]  # none: a dummy, which keeps ranks in step and teaches nothing
    token_id_S: torch.Tensor
    label_S: torch.Tensor  # NO_LABEL at the first token of each example, too
    position_AS: torch.Tensor
    segment_S: torch.Tensor  # index of the example that each token belongs to

    @property
    def n_labels(self) -> int:
        return int((self.label_S != NO_LABEL).sum())
