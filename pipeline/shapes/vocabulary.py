"""The embedded scorer's tokenizer: one token a word of the composer, one a number from 0 to 1000, bytes for the rest.

One token a word, because a word in two tokens halves what one gradient step learns about it (pilot). Bytes for the
rest, so that any text has a likelihood, if a poor one.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PIECES = r" ?frame\d+| ?[A-Za-z]+| ?\d+|[^\sA-Za-z\d]+|\s+"
SPECIAL = ("<|pad|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZE = 2048


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE in which each piece of `texts` that is common is one token; raises where a number is not."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    numbers = [f",{n}" for n in range(1001) for _ in range(400)] + [f".{n:02d}" for n in range(100) for _ in range(400)]
    words = [f" frame{k} frame{k}:frame{k}" for k in range(1, 33) for _ in range(400)]
    tokenizer.train_from_iterator([*texts, *numbers, *words], trainer)
    split = [n for n in range(1001) if len(tokenizer.encode(str(n)).ids) != 1]
    if split:
        raise ValueError(f"{len(split)} numbers are more than one token ({split[:5]}): raise SIZE above {SIZE}")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=SPECIAL[0], eos_token="<|im_end|>", clean_up_tokenization_spaces=False
    )
    fast.chat_template = CHAT
    return fast
