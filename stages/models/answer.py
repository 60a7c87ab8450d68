"""An answer in the model's own words: the likeliest token at each place, behind a prompt that is read once.

The prompt is the scorer's, so what is asked here is what is scored and trained elsewhere; the tokens are those of
transformers' `generate(do_sample=False)` on the same prompt.
"""

from collections.abc import Iterator
from typing import Any

import torch
from transformers import RepetitionPenaltyLogitsProcessor

from stages.algorithms.tpl import VIDEO, Context
from stages.models import shared_prefix
from stages.models.chat import CUT
from stages.models.family import Family, PromptRow
from stages.models.prefix import Prefix
from stages.models.protocols import TooLong
from stages.models.transformers_scorer import TOWER_TOKENS, WatchedFrames

HALF = "\ufffd"  # what a decoder writes for bytes that are no character, or not one yet
PROBE = "A"  # an answer, to find where answers begin


@torch.inference_mode()
def prompt(watched: WatchedFrames, question: str) -> PromptRow:
    """All frames and the question, up to where the answer begins; raises TooLong and NotSeparable."""
    family = watched.family
    (before,) = watched.prefixes([Context(VIDEO, None, tuple(range(len(watched.times))))])
    branch = family.branch(question, PROBE, headed=watched.headed)
    ids = branch.token_id[: -branch.n_target]
    if len(before) + len(ids) >= family.limit:
        raise TooLong(f"{len(before)} + {len(ids)} tokens leave no room for an answer in {family.limit}")
    behind = before.next_position + torch.arange(len(ids))
    position = torch.cat([before.position_AN, behind.expand(len(before.position_AN), -1)], dim=1)
    whole = Prefix((*before.token_id, *ids), position, before.next_position + len(ids))
    return PromptRow(whole, _visual(watched))


@torch.inference_mode()
def write(family: Family, asked: PromptRow, *, max_new_tokens: int) -> Iterator[int]:
    """Token ids as they are found, up to and with an end mark, `max_new_tokens` or the model's limit."""
    model, token_id = family.model, list(asked.prefix.token_id)
    ends, penalise = end_marks(family), _penalty(family)
    read = Prefix(asked.prefix.token_id[:-1], asked.prefix.position_AN[:, :-1], asked.prefix.next_position - 1)
    cache = shared_prefix.prefill(family, [PromptRow(read, asked.visual)])
    axes = len(read.position_AN)
    for k in range(min(max_new_tokens, family.limit - len(token_id))):
        position = torch.full((axes, 1, 1), read.next_position + k, device=model.device)
        hidden = model.model.language_model(
            inputs_embeds=model.get_input_embeddings()(torch.tensor([token_id[-1:]], device=model.device)),
            position_ids=position if axes > 1 else position[0],
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        logits = model.lm_head(hidden[:, -1]).float()
        token_id.append(int(penalise(torch.tensor([token_id], device=model.device), logits).argmax()))
        yield token_id[-1]
        if token_id[-1] in ends:
            return


def answer(watched: WatchedFrames, question: str, *, max_new_tokens: int) -> str:
    """The whole answer, without marks; raises as `prompt` does."""
    family, words = watched.family, Words(watched.family.tokenizer)
    said = [words.add(i) for i in write(family, prompt(watched, question), max_new_tokens=max_new_tokens)]
    return "".join([*said, words.end()])


def end_marks(family: Family) -> frozenset[int]:
    """Tokens that end an answer: the generation config's, the tokenizer's, and the template's own behind an answer."""
    given = family.model.generation_config.eos_token_id
    ends = {*(given if isinstance(given, list) else [given]), family.tokenizer.eos_token_id}
    _, _, behind = family.chat.asked("", (("Q", CUT),), "Q", video=False).partition(CUT)
    first = family.ids(behind)[0]
    added = family.tokenizer.added_tokens_decoder.get(first)
    if added is not None and added.special:  # else the template ends an answer with words, which answers may hold
        ends.add(first)
    return frozenset(ends - {None})


class Words:
    """Tokens as text, piece by piece. A character is given out when all of its bytes are there."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._token_id: list[int] = []
        self._from, self._to = (
            0,
            0,
        )  # the last tokens that were given out: some decoders write a token by the one before

    def add(self, token_id: int) -> str:
        """What can be said now that this token is there; "" where it ends in half a character."""
        self._token_id.append(token_id)
        return self._new(whole=False)

    def end(self) -> str:
        """What was held back: bytes that never became a character."""
        return self._new(whole=True)

    def _new(self, *, whole: bool) -> str:
        known, now = self._text(self._from, self._to), self._text(self._from, len(self._token_id))
        if now.endswith(HALF) and not whole:
            return ""
        self._from, self._to = self._to, len(self._token_id)
        return now[len(known) :]

    def _text(self, start: int, stop: int) -> str:
        ids = self._token_id[start:stop]
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _visual(watched: WatchedFrames) -> torch.Tensor:
    """Features at the video positions of the whole clip."""
    family, model = watched.family, watched.family.model
    units = family.units(range(len(watched.times)))
    rows, columns = family.grid(watched.pixels_TCHW)
    size = max(1, TOWER_TOKENS // (rows * columns))
    found = [
        family.encode_units(watched.pixels_TCHW[torch.tensor(units[i : i + size])].to(model.device, model.dtype))
        for i in range(0, len(units), size)
    ]
    return family.visual(torch.cat(found))


def _penalty(family: Family) -> Any:
    """What the generation config asks of greedy decoding, too: Qwen2.5-VL's has a repetition penalty of 1.05."""
    factor = family.model.generation_config.repetition_penalty
    return RepetitionPenaltyLogitsProcessor(factor) if factor not in (None, 1.0) else lambda _, logits: logits
