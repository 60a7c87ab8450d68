"""What the engine asks of a family of video MLLMs, and the part of the answer that all families share.

A *unit* is what goes through the vision tower at once and alone: one frame, or a pair that a family merges into one.
Its features depend on nothing else, so contexts share them; prefixes depend on all that is shown, so they do not.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from transformers import AutoTokenizer, PreTrainedModel

from stages.algorithms.prompt import header
from stages.models.chat import Chat, Turns
from stages.models.checkpoint import beside
from stages.models.pixels import PatchRule, PixelRule
from stages.models.prefix import Branch, Prefix

Unit = tuple[int, ...]  # planned frames
LOGITS = 2**27  # numbers of logits at once: half a GB in float32


@dataclass(frozen=True, slots=True)
class Shown:
    """The frames of one context: indices into the clip's planned frames and what the prompt says of them."""

    index: tuple[int, ...]
    header: str  # "" says nothing
    times_s: tuple[float, ...] = ()  # of each frame, where a family writes times itself
    spacing_s: float = 1.0  # between two frames of the film, where a family's positions tell time


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One row of a forward pass before its branches: the prompt, and (n, F) features for its video positions."""

    prefix: Prefix
    visual: torch.Tensor


class Family(ABC):
    """Model, tokenizer and pixel rule of one checkpoint, in evaluation mode."""

    mark: ClassVar[str]  # the video's token
    image_mark: ClassVar[str]
    wrapped: ClassVar[str]  # before the text of a plain message with a video
    bare: ClassVar[str] = ""  # and without one
    tells_time: ClassVar[bool] = False  # whether `times_s` and `spacing_s` of what is shown are read
    extra_tokens: ClassVar[int] = 0  # at each mark, beside those of its units
    model_class: ClassVar[Any]

    def __init__(self, model: Any, tokenizer: Any, pixel: PixelRule | PatchRule) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.pixel: Any = pixel
        self.video_id: int = model.config.video_token_id
        self.image_id: int = model.config.image_token_id
        self.pad_id: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        self.chat = Chat(tokenizer, mark=self.mark, wrapped=self.wrapped, bare=self.bare)
        if self.ids(self.mark) != [self.video_id]:
            raise ValueError(f"{self.mark!r} is not token {self.video_id}, which the model's config calls the video")

    @classmethod
    def load(cls, path: str, *, dtype: torch.dtype = torch.float32, max_pixels: int | None = None, **hub: Any) -> Self:
        """A checkpoint by local path or hub id; `hub` is handed to transformers: revision, local_files_only."""
        model, info = cls.model_class.from_pretrained(
            path, dtype=dtype, attn_implementation="sdpa", output_loading_info=True, **hub
        )
        check_whole(path, info)
        tokenizer = AutoTokenizer.from_pretrained(path, **hub)
        older = beside(path, "chat_template.json", hub.get("revision"))  # read by processors, not by tokenizers
        if older and not beside(path, "chat_template.jinja", hub.get("revision")):
            tokenizer.chat_template = json.loads(older.read_text())["chat_template"]
        return cls(model, tokenizer, cls.pixel_rule(path, model, max_pixels, **hub))

    @classmethod
    @abstractmethod
    def pixel_rule(cls, path: str, model: PreTrainedModel, max_pixels: int | None, **hub: Any) -> Any:
        """How this checkpoint wants its frames; `max_pixels` a frame where the family reads many sizes."""

    @abstractmethod
    def units(self, index: Sequence[int]) -> tuple[Unit, ...]:
        """What the vision tower sees of these frames, in order; equal units have equal features."""

    @abstractmethod
    def grid(self, pixels_TCHW: torch.Tensor) -> tuple[int, int]:
        """Rows and columns of a unit's tokens."""

    @abstractmethod
    def encode_units(self, pixels_UmCHW: torch.Tensor) -> torch.Tensor:
        """(U, p, F): features of units of m frames, p tokens each."""

    def visual(self, features_UpF: torch.Tensor) -> torch.Tensor:
        """(n, F): features at the video positions of a context that shows these units."""
        return features_UpF.flatten(0, 1)

    def video_text(self, shown: Shown) -> tuple[str, list[int]]:
        """What the prompt writes for the video, and how many units stand at each of the marks in it."""
        return self.mark, [len(self.units(shown.index))]

    def positions(self, token_id: Sequence[int], shown: Shown, grid_HW: tuple[int, int]) -> tuple[torch.Tensor, int]:
        """(A, n) positions of a prefix, and the position of the token that follows it."""
        return torch.arange(len(token_id))[None], len(token_id)

    def deep(self, token_id_BS: torch.Tensor, visual_NF: torch.Tensor) -> Mapping[str, Any]:
        """What the language model is told of the frames beside its input embeddings."""
        return {}

    def ids(self, text: str) -> list[int]:
        return self.chat.ids(text)

    @cached_property
    def image_chat(self) -> Chat:
        """The template with an image in the video's place; raises ValueError where it has none for images."""
        if self.ids(self.image_mark) != [self.image_id]:
            raise ValueError(f"{self.image_mark!r} is not token {self.image_id}, which the config calls the image")
        wrapped = self.wrapped.replace(self.mark, self.image_mark)
        return Chat(self.tokenizer, mark=self.image_mark, wrapped=wrapped, bare=self.bare, part="image")

    @cached_property
    def text_chat(self) -> Chat:
        """The template for texts without any medium: a plain message is the text alone, as anybody writes it."""
        return Chat(self.tokenizer, mark=self.mark, wrapped=self.wrapped, bare="")

    @property
    def limit(self) -> int:
        """Tokens that the language model reads; where layers slide a window, its width: inside it no layer slides."""
        text: Any = self.model.config.text_config
        slides = "sliding_attention" in (getattr(text, "layer_types", None) or ())
        return min(int(text.max_position_embeddings), int(text.sliding_window) if slides else 2**62)

    @property
    def width(self) -> int:
        """F of a unit's features."""
        return int(self.model.config.text_config.hidden_size)

    def shown(
        self, index: tuple[int, ...], names: Sequence[int], times: Sequence[str], *, headed: bool,
        film: Sequence[int] = (),
    ) -> Shown:  # fmt: skip
        """What the prompt says of frames that it calls by these 1-based names; `times` are those of the whole plan.

        `film`: 0-based planned frames of the film that these are a context of, where it is not the whole plan: clocks
        run as if they were a plan of their own. Told nothing, a family that writes times itself counts on from the
        film's first one in its spacing, as for any video.
        """
        text = header(names, times) if headed else ""
        if not self.tells_time or not times:
            return Shown(index, text)
        plan_s = [_seconds(t) for t in times]
        film_s = [plan_s[k] for k in film] or plan_s
        spacing_s = (film_s[-1] - film_s[0]) / max(1, len(film_s) - 1) or 1.0
        times_s = [plan_s[n - 1] if headed else film_s[0] + k * spacing_s for k, n in enumerate(names)]
        return Shown(index, text, tuple(times_s), spacing_s)

    def prefix(self, shown: Shown, tokens_a_unit: int, columns: int = 1, *, plain: bool = False) -> Prefix:
        """The prompt up to the question: template, visual tokens, header. No visual token is ever cut.

        `plain`: the video alone.
        """
        head = f"{shown.header}\n" if shown.header else ""
        text, units = self.video_text(shown) if shown.index else ("", [])
        if plain:
            left, _, between = self.wrapped.strip().partition(self.mark) if units else ("", "", "")
        else:
            left, between = self.chat.around(head, video=bool(units))
        counts = [n * tokens_a_unit + self.extra_tokens for n in units]
        token_id = _expanded(self.ids(left + text + between), self.video_id, counts)
        return Prefix(tuple(token_id), *self.positions(token_id, shown, (tokens_a_unit // columns, columns)))

    def image_prefix(self, n_tokens: int, grid_HW: tuple[int, int], *, plain: bool = False) -> Prefix:
        """The same of an image of so many visual tokens, of which nothing is said."""
        if plain:
            left, between = self.wrapped.strip().split(self.mark)
        else:
            left, between = self.image_chat.around("", video=True)
        token_id = _expanded(self.ids(left + self.image_mark + between), self.image_id, [n_tokens])
        return Prefix(tuple(token_id), *self.image_positions(token_id, grid_HW))

    def text_prefix(self) -> Prefix:
        """The same of no medium at all."""
        token_id = self.ids("".join(self.text_chat.around("", video=False)))
        return Prefix(tuple(token_id), *self.positions(token_id, Shown((), ""), (1, 1)))

    def image_positions(self, token_id: Sequence[int], grid_HW: tuple[int, int]) -> tuple[torch.Tensor, int]:
        """`positions` where an image stands in the video's place."""
        return torch.arange(len(token_id))[None], len(token_id)

    def branch(
        self, question: str, answer: str, *, history: Turns = (), headed: bool = True, end: bool = False
    ) -> Branch:
        """Question, the template's turn to the assistant, and the answer as target (with its end mark in training)."""
        heads = (header([1], ["0.00 s"]) + "\n", header([], []) + "\n") if headed else ("", "")
        ids, n_target = self.chat.branch(heads, history, question, answer)
        tail = [self.tokenizer.eos_token_id] if end else []
        return Branch((*ids, *tail), n_target + len(tail))

    def embed(self, token_id_BS: torch.Tensor, visual: Sequence[torch.Tensor]) -> torch.Tensor:
        """Input embeddings (B, S, D); `visual[i]` (n_i, F) fills the video positions of row i, in order."""
        embeds = self.model.get_input_embeddings()(token_id_BS)
        at = token_id_BS == self.video_id
        flat = torch.cat(list(visual))[:, : embeds.shape[-1]]
        if int(at.sum()) != len(flat):
            raise ValueError(f"{int(at.sum())} video positions, {len(flat)} visual tokens")
        return embeds.masked_scatter(at[..., None], flat.to(embeds.dtype))


def check_whole(path: str, info: Mapping[str, Any]) -> None:
    """Raises ValueError where a checkpoint lacks weights, which transformers would make up at random."""
    lacking = sorted([*info["missing_keys"], *(str(k) for k in info["mismatched_keys"])])
    if lacking:
        raise ValueError(f"{path}: {len(lacking)} weights are missing or of another shape, such as {lacking[0]}")


def _expanded(token_id: Sequence[int], mark_id: int, counts: Sequence[int]) -> list[int]:
    """Each mark written as often as its visual tokens want it."""
    left = iter(counts)
    found: list[int] = []
    for i in token_id:
        found += [i] * next(left) if i == mark_id else [i]
    if next(left, None) is not None:
        raise ValueError(f"{len(counts)} marks of pictures were written, fewer were read")
    return found


def _seconds(time: str) -> float:
    """2.31 of "2.31 s"; raises ValueError where a time is anything else."""
    number, _, unit = time.partition(" ")
    if unit != "s":
        raise ValueError(f"frame time {time!r}: this family reads seconds, as in '2.31 s'")
    return float(number)
