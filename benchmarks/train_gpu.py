"""What a training step costs on one GPU, and what packing saves: `python -m benchmarks.train_gpu --size 0.5b`.

The model is the real class with random weights in bfloat16; torch and transformers suffice. 0.5b is trained whole, as
in the second stage; of 7b only the projector learns, as in the first. AdamW keeps its states in bfloat16 here: the
engine's masters and states of 32 bits come on top of the memory shown. A step is the same samples in all arms:

packed  examples one behind the other, up to a budget of tokens and pictures, best fit first
single  one example a row
padded  eight rows a batch, in drawn order, each padded to the longest, as an ordinary collator does

Which is generous to padding: all arms pass pictures through the tower once, and ask the head for labels only. The mix
of lengths is an assumption, stated in every result (benchmarks/train_mix.py). MFU counts the FLOPs of single rows,
once forwards and once backwards: what padding, masks and activation checkpointing add is no use. A run that needs more
memory than there is says so in its row: it has no time.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.machine import machine
from benchmarks.tpl_cost import counted
from benchmarks.tpl_gpu import PEAK_TFLOPS
from benchmarks.tpl_models import SIDE_PX, build
from benchmarks.train_mix import SETUPS, WHOLE, Setup, drawn, packed
from pipeline.train.collate import pack
from pipeline.train.example import NO_LABEL, Example
from pipeline.train.groups import freeze
from pipeline.train.model import PackedModel
from pipeline.train.trunks import filled
from stages.models.onevision import OneVision
from stages.models.pixels import PixelRule

BICUBIC = 3
BATCH = 8  # rows of a padded batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One row of the table. None of what is not known: peaks of memory and chip on a CPU, all where memory ended."""

    rows: str
    checkpointing: bool
    step_s: float | None  # forwards, backwards and update
    tokens_per_s: float | None  # of samples, never of padding
    fill: float  # share of the tokens computed that are samples'
    mfu: float | None
    peak_memory_gb: float | None
    loss: float | None  # nats a label, of the first step: equal in all arms but for rounding


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SETUPS, default="0.5b")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--attention", choices=("sdpa", "flash_attention_2"), default="sdpa")
    parser.add_argument("--out", type=Path, help="a JSON file; else it is printed")
    args = parser.parse_args()
    found = json.dumps(measure(args.size, args.device, args.attention), indent=1)
    args.out.write_text(found + "\n") if args.out else sys.stdout.write(found + "\n")
    return 0


def measure(size: str, device: str, attention: str) -> dict[str, Any]:
    setup, cuda = SETUPS[size], device == "cuda"
    family = build(setup.size, device=device, dtype=torch.bfloat16 if cuda else torch.float32)
    family.pixel = PixelRule(SIDE_PX, (0.5,) * 3, (0.5,) * 3, BICUBIC)
    family.model.set_attn_implementation(attention)
    model = PackedModel(family)
    parts: Any = SimpleNamespace(**{part: part in setup.learns for part in WHOLE})
    freeze(family.model, parts)
    examples = drawn(family, setup)
    chip = torch.cuda.get_device_name() if cuda else machine()
    peak = next((v * 1e12 for k, v in PEAK_TFLOPS.items() if k in chip), None) if cuda else None
    flops = useful_flops(model, family, examples)
    arms = [
        _arm(rows, checkpointing, model, family, setup, examples, flops / peak if peak else None)
        for rows in ("packed", "single", "padded")
        for checkpointing in (False, True)
    ]
    return {
        "chip": chip, "torch": torch.__version__, "size": size, "learns": setup.learns, "attention": attention,
        "mix": asdict(setup.mix), "samples": len(examples), "tokens": sum(len(e.token_id_S) for e in examples),
        "longest": max(len(e.token_id_S) for e in examples), "useful_tflops": flops / 1e12,
        "micro_tokens": setup.micro_tokens, "micro_tiles": setup.micro_tiles, "arms": [asdict(a) for a in arms],
        "packed_over_padded": {
            "with" if c else "without": _ratio([a for a in arms if a.checkpointing == c]) for c in (False, True)
        },
    }  # fmt: skip


def padded(model: PackedModel, family: OneVision, examples: Sequence[Example]) -> torch.Tensor:
    """(N,) nats of a batch in the ordinary way: one example a row, padded on the right, with a mask."""
    body, device = model.model.model, model.model.device
    longest = max(len(e.token_id_S) for e in examples)
    token_id_BS = torch.full((len(examples), longest), family.pad_id)
    label_BS, mask_BS = torch.full_like(token_id_BS, NO_LABEL), torch.zeros_like(token_id_BS)
    for row, example in enumerate(examples):
        n = len(example.token_id_S)
        token_id_BS[row, :n] = torch.from_numpy(example.token_id_S)
        label_BS[row, :n] = torch.from_numpy(example.label_S)
        mask_BS[row, :n] = 1
    token_id_BS, label_BS, mask_BS = (t.to(device) for t in (token_id_BS, label_BS, mask_BS))
    embeds_BSD = body.get_input_embeddings()(token_id_BS)
    visual_ND = body.pictures([e.tiles for e in examples if e.tiles], device)
    at_S = ((token_id_BS == family.video_id) | (token_id_BS == family.image_id)).flatten()
    embeds_BSD = filled(embeds_BSD.flatten(0, 1), at_S, visual_ND).unflatten(0, token_id_BS.shape)
    hidden_BSD = body.language_model(
        inputs_embeds=embeds_BSD, attention_mask=mask_BS, use_cache=False
    ).last_hidden_state
    rows, places = torch.nonzero(label_BS != NO_LABEL, as_tuple=True)
    return model.model.lm_head(hidden_BSD[rows, places - 1], label_BS[rows, places])


def useful_flops(model: PackedModel, family: OneVision, examples: Sequence[Example]) -> float:
    """Of a step of single rows, forwards and backwards."""
    with counted() as counter:
        for example in examples:
            model(pack([example], family)).sum().backward()
    model.zero_grad(set_to_none=True)
    return counter.get_total_flops()


def _arm(
    rows: str, checkpointing: bool, model: PackedModel, family: OneVision, setup: Setup,
    examples: Sequence[Example], least_s: float | None,
) -> Arm:  # fmt: skip
    """Steps after one that is not timed, from the same weights; `least_s` at the chip's peak."""
    model.checkpoint_activations(language=checkpointing, vision=checkpointing and "vision" in setup.learns)
    parts = [list(examples[i : i + BATCH]) for i in range(0, len(examples), BATCH)]
    if rows != "padded":
        parts = packed(examples, setup) if rows == "packed" else [[e] for e in examples]
    width = [max(len(e.token_id_S) for e in part) * len(part) if rows == "padded" else _tokens(part) for part in parts]
    fill = _tokens(examples) / sum(width)

    def step(part: Sequence[Example]) -> torch.Tensor:
        return padded(model, family, part) if rows == "padded" else model(pack(part, family))

    empty = Arm(
        rows=rows, checkpointing=checkpointing, step_s=None, tokens_per_s=None, fill=fill, mfu=None,
        peak_memory_gb=None, loss=None,
    )  # fmt: skip
    weights = [w for w in model.parameters() if w.requires_grad]
    before = [w.detach().to("cpu", copy=True) for w in weights]
    cuda = family.model.device.type == "cuda"
    try:
        loss, step_s, peak_gb = _timed(step, parts, weights, setup.runs, cuda)
    except torch.OutOfMemoryError:
        return empty
    finally:
        with torch.no_grad():
            for weight, old in zip(weights, before, strict=True):
                weight.copy_(old)
        model.zero_grad(set_to_none=True)
    mfu = least_s / step_s if least_s else None
    return replace(
        empty, step_s=step_s, tokens_per_s=_tokens(examples) / step_s, mfu=mfu, peak_memory_gb=peak_gb, loss=loss
    )


def _timed(
    step: Callable[[Sequence[Example]], torch.Tensor], parts: Sequence[Sequence[Example]],
    weights: list[torch.nn.Parameter], runs: int, cuda: bool,
) -> tuple[float, float, float | None]:  # fmt: skip
    """Loss of the first step, seconds of the fastest of the others, and the peak of memory."""
    optimizer = torch.optim.AdamW(weights, lr=1e-6)
    n_labels = sum(int((e.label_S != NO_LABEL).sum()) for part in parts for e in part)
    first, fastest = 0.0, float("inf")
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    for run in range(runs + 1):
        began, total = perf_counter(), 0.0
        for part in parts:
            loss = step(part).sum() / n_labels
            loss.backward()
            total += float(loss.detach())  # which waits for the device
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if cuda:
            torch.cuda.synchronize()
        if run:
            fastest = min(fastest, perf_counter() - began)
        else:
            first = total
    return first, fastest, torch.cuda.max_memory_allocated() / 1e9 if cuda else None


def _tokens(examples: Sequence[Example]) -> int:
    return sum(len(e.token_id_S) for e in examples)


def _ratio(arms: Sequence[Arm]) -> float | None:
    """Useful tokens a second, packed over padded."""
    by_rows = {a.rows: a.tokens_per_s for a in arms}
    over, under = by_rows["packed"], by_rows["padded"]
    return over / under if over and under else None


if __name__ == "__main__":
    raise SystemExit(main())
