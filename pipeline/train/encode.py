"""A conversation as tokens, labels, positions and pictures: its prompt is, token by token, the one that is scored.

What comes before the last answer is what a scorer or a generation reads there. Earlier answers stand as the chat
template writes them in a history, which is not always as it begins one: the published LLaVA-OneVision's has
"assistant \\n" before them and "assistant\\n" before the last. Clocks run over the frames shown, as if they were a plan
of their own; names are those of the plan. Whether a token is a label depends on the policy:

assistant_only  the content of each answer and its end mark
llava_next      the whole of each assistant turn, header and last newline included, and every newline, <|im_start|> and
                <|im_end|> anywhere, as LLaVA-NeXT's preprocess_qwen does

The template "plain" has the picture, the caption and a newline, and no question; caption and newline are labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.train.example import NO_LABEL, Conversation, Example, Length, Media, Shape, Tiles
from pipeline.train.image_tiles import images
from stages.models.family import Family, Shown
from stages.models.prefix import Prefix
from stages.models.protocols import NotSeparable, TooLong

if TYPE_CHECKING:  # a model is trained where pydantic is not
    from pipeline.train.recipe import Text

VERSION = 2  # raise it where equal conversations begin to give other tokens, labels or pictures
Turns = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Read:
    token_id: list[int]
    label_S: np.ndarray
    prefix: Prefix
    length: Length


class Encoder:
    """Of one family and one way to write and to label."""

    def __init__(self, family: Family, text: Text, image_tiles: int) -> None:
        self._family, self._text = family, text
        self._images = images(family, image_tiles)
        self._plain, self._headed = text.template == "plain", text.prompt == "frames"
        self._turn_marks = _turn_marks(family) if text.labels == "llava_next" and not self._plain else None
        # The end mark is a label, so it must be what the template writes, and what ends a generation.
        closing = "" if self._plain else family.chat.closing()
        self._closing = family.ids(closing) if self._turn_marks else []
        self.limit = min(text.max_length, family.limit)  # tokens

    def encode(self, conversation: Conversation) -> Example:
        """Raises TooLong and NotSeparable."""
        media = conversation.media
        read = self._read(conversation.turns, shape_of(media) if media else None)
        before = read.prefix.position_AN
        behind = read.prefix.next_position + torch.arange(len(read.token_id) - len(read.prefix))
        position_AS = torch.cat([before, behind.expand(len(before), -1)], dim=1)
        return Example(
            conversation.source, conversation.sample_id, conversation.family,
            np.array(read.token_id, dtype=np.int64), read.label_S, position_AS.numpy(), self._tiles(media),
        )  # fmt: skip

    def length(self, turns: Turns, shape: Shape | None) -> Length:
        """What `encode` would give; raises as it does, but needs no picture."""
        return self._read(turns, shape).length

    def _read(self, turns: Turns, shape: Shape | None) -> _Read:
        if not turns or not all(answer for _, answer in turns):
            raise NotSeparable("a conversation without a turn, or with an empty answer, teaches nothing: leave it out")
        prefix, n_tiles = self._prefix(shape)
        behind, answers = self._caption(turns, shape) if self._plain else self._talk(turns, shape)
        pictures = (self._family.video_id, self._family.image_id)
        if any(i in pictures for i in behind):
            raise NotSeparable(f"{turns[0][0][:40]!r}: the text itself holds the mark of a picture: take it out")
        token_id = [*prefix.token_id, *behind]
        if len(token_id) > self.limit:
            raise TooLong(f"{turns[0][0][:40]!r}: {len(token_id)} tokens > {self.limit}")
        label_S = self._labels(np.array(token_id, dtype=np.int64), len(prefix) + answers)
        n_visual = sum(i in pictures for i in prefix.token_id)
        length = Length(len(token_id), n_visual, int((label_S != NO_LABEL).sum()), n_tiles)
        return _Read(token_id, label_S, prefix, length)

    def _prefix(self, shape: Shape | None) -> tuple[Prefix, int]:
        """All up to the first question, and the number of its pictures."""
        family = self._family
        if shape and shape.kind == "image":
            layout = self._images.layout((shape.height_px, shape.width_px))
            return family.image_prefix(layout.n_tokens, layout.grid_HW, plain=self._plain), layout.n_tiles
        if shape is None:
            return family.text_prefix(), 0
        shown = self._shown(shape)
        if not shape.index:
            return family.prefix(shown, 1, plain=self._plain), 0
        frame = torch.empty(1, 3, *family.pixel.size(shape.height_px, shape.width_px), device="meta")
        rows, columns = family.grid(frame)
        return family.prefix(shown, rows * columns, columns, plain=self._plain), len(shape.index)

    def _shown(self, shape: Shape) -> Shown:
        """What is said of a video. A film of no frames is told so; a text without a medium is told nothing."""
        names, film = [i + 1 for i in shape.index], shape.film or shape.index
        return self._family.shown(shape.index, names, shape.times, headed=self._headed, film=film)

    def _caption(self, turns: Turns, shape: Shape | None) -> tuple[list[int], np.ndarray]:
        if shape is None or len(turns) != 1:
            raise NotSeparable(f"{turns[0][0][:40]!r}: the plain template is for one caption of one picture")
        token_id = self._family.ids(turns[0][1] + "\n")
        return token_id, np.array([[0, len(token_id)]])

    def _talk(self, turns: Turns, shape: Shape | None) -> tuple[list[int], np.ndarray]:
        """Ids from the first question on, and [begin, end) of each answer with its end mark among them."""
        family = self._family
        if shape and shape.kind == "image":
            token_id, answers = family.image_chat.conversation("", tuple(turns), video=True)
        elif shape:
            said = self._shown(shape).header
            head = f"{said}\n" if said else ""
            token_id, answers = family.chat.conversation(head, tuple(turns), video=bool(shape.index))
        else:
            token_id, answers = family.text_chat.conversation("", tuple(turns), video=False)
        return [*token_id, family.tokenizer.eos_token_id, *self._closing], np.array(answers) + np.array([0, 1])

    def _labels(self, token_id_S: np.ndarray, answers_N2: np.ndarray) -> np.ndarray:
        is_label = np.zeros(len(token_id_S), dtype=bool)
        for begin, end in answers_N2:
            is_label[begin:end] = True
        if self._turn_marks:
            start_id, _, _ = self._turn_marks
            starts = [*np.flatnonzero(token_id_S == start_id), len(token_id_S)]
            for begin, end in pairwise(starts):
                is_label[begin:end] |= is_label[begin:end].any()
            is_label |= np.isin(token_id_S, self._turn_marks)
        is_label[0] = False  # nothing before it predicts it
        return np.where(is_label, token_id_S, NO_LABEL)

    def _tiles(self, media: Media | None) -> Tiles | None:
        if media is None or not media.index:
            return None
        height, width = media.frames_THWC.shape[1:3]
        is_image = media.kind == "image"
        tiles = self._images.tiles(media.frames_THWC[0]) if is_image else self._family.pixel.resize(media.frames_THWC)
        return Tiles(media.kind, tiles, (height, width))


def shape_of(media: Media) -> Shape:
    height, width = media.frames_THWC.shape[1:3]
    return Shape(media.kind, len(media.times), media.index, media.times, height, width, media.film)


def _turn_marks(family: Family) -> tuple[int, int, int]:
    """<|im_start|>, <|im_end|> and a newline; raises where the template writes turns otherwise."""
    said = family.chat.asked("", (), "Q", video=False)
    marks = [family.ids(mark) for mark in ("<|im_start|>", "<|im_end|>", "\n")]
    if any(len(ids) != 1 for ids in marks) or "<|im_start|>assistant" not in said:
        raise ValueError("text.labels llava_next: the chat template is not ChatML; take assistant_only")
    (start,), (end,), (newline,) = marks
    return start, end, newline
