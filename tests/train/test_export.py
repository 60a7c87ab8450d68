"""What is exported is the model that was trained, under the names that published checkpoints have."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, LlavaOnevisionForConditionalGeneration

from pipeline.train.assemble import load
from pipeline.train.export import CHECKED, BadExport, digest, verify, write_checkpoint
from pipeline.train.recipe import Init
from pipeline.train.verify_export import NotEqual, check
from stages.models.checkpoint import NoScorer
from stages.models.pixels import AREA, PixelRule
from tests.models.tiny import KINDS
from tests.train.conftest import Runs
from tests.train.launch import weights
from tests.train.model_kit import family, folder

# Of llava-hf/llava-onevision-qwen2-7b-ov-hf, Qwen/Qwen2.5-VL-7B-Instruct and Qwen/Qwen3-VL-8B-Instruct.
PUBLISHED = {
    "llava_onevision": (
        "image_newline", "language_model.lm_head.weight", "language_model.model.embed_tokens.weight",
        "language_model.model.layers.0.self_attn.q_proj.weight", "multi_modal_projector.linear_1.weight",
        "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight",
    ),
    "qwen2_5_vl": (
        "lm_head.weight", "model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
        "visual.blocks.0.attn.qkv.weight", "visual.merger.mlp.0.weight",
    ),
    "qwen3_vl": (
        "lm_head.weight", "model.language_model.embed_tokens.weight", "model.visual.blocks.0.attn.qkv.weight",
        "model.language_model.layers.0.self_attn.q_proj.weight", "model.visual.merger.linear_fc1.weight",
    ),
}  # fmt: skip


PROJECTOR = {  # weights by where their names begin in memory
    "llava_onevision": {"model.multi_modal_projector.": 4},
    "qwen2_5_vl": {"model.visual.merger.": 5},
    "qwen3_vl": {"model.visual.merger.": 6, "model.visual.deepstack_merger_list.": 12},
}


def nats(model: Any, tokenizer: Any) -> list[float]:
    ids = torch.tensor(tokenizer(CHECKED, add_special_tokens=False).input_ids)
    with torch.no_grad():
        logits = model(input_ids=ids[None]).logits[0]
    return torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none").tolist()


def told(of: Any) -> dict[str, Any]:
    """What a fresh process is to find."""
    held = {name: digest(weight) for name, weight in of.model.state_dict().items()}
    return {"weights": held, "text": CHECKED, "precision": "float32", "nll": nats(of.model, of.tokenizer)}


def test_two_ranks_of_zero_3_export_what_they_trained(runs: Runs):
    """Read by transformers alone; the run had it read by a process of its own, too, which compared with the engine."""
    out = runs / "z3" / "export"
    kind: Any = LlavaOnevisionForConditionalGeneration
    model, info = kind.from_pretrained(out, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    trained = weights(runs / "z3")
    assert model.state_dict().keys() == trained.keys()
    assert all(torch.equal(weight, trained[name]) for name, weight in model.state_dict().items())
    begun = kind.from_pretrained(runs.checkpoint)
    begun.load_state_dict(trained)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert nats(model, tokenizer) == pytest.approx(
        nats(begun, AutoTokenizer.from_pretrained(runs.checkpoint)), abs=1e-6
    )
    assert tokenizer.chat_template == (runs.checkpoint / "chat_template.jinja").read_text()
    assert (out / "preprocessor_config.json").read_bytes() == (
        runs.checkpoint / "preprocessor_config.json"
    ).read_bytes()
    assert not out.with_name("export.partial").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_the_published_ones_and_reload(kind: str, tmp_path: Path):
    of = family(kind)
    held = {name: weight.detach().clone() for name, weight in of.model.state_dict().items()}
    write_checkpoint(tmp_path, of, held, init=str(folder(kind)))
    names = load_file(tmp_path / "model.safetensors").keys()
    assert names >= set(PUBLISHED[kind])
    assert {name.split(".")[0] for name in names} == {name.split(".")[0] for name in PUBLISHED[kind]}
    check(str(tmp_path), told(of))


@pytest.mark.parametrize("kind", KINDS)
def test_the_projector_alone_is_laid_over_another_model(kind: str, tmp_path: Path):
    of = family(kind)
    begun = {name: weight.clone() for name, weight in of.model.state_dict().items()}
    write_checkpoint(tmp_path, of, {name: weight + 1 for name, weight in begun.items()}, init=str(folder(kind)))
    whole, part = (load_file(tmp_path / name) for name in ("model.safetensors", "projector.safetensors"))
    assert all(torch.equal(weight, whole[name]) for name, weight in part.items())  # vLLM reads both files
    init = Init(checkpoint=str(folder(kind)), projector=str(tmp_path / "projector.safetensors"))
    laid = load(init, "float32", "sdpa").model.state_dict()
    changed = [name for name, weight in laid.items() if not torch.equal(weight, begun[name])]
    assert all(torch.equal(laid[name], begun[name] + 1) for name in changed)
    assert {name: len([n for n in changed if n.startswith(name)]) for name in PROJECTOR[kind]} == PROJECTOR[kind]
    assert len(changed) == len(part) == sum(PROJECTOR[kind].values())


def test_a_projector_without_its_deeper_mergers_is_refused(tmp_path: Path):
    of = family("qwen3_vl")
    write_checkpoint(tmp_path, of, of.model.state_dict(), init=str(folder("qwen3_vl")))
    file = tmp_path / "projector.safetensors"
    save_file({name: weight for name, weight in load_file(file).items() if "deepstack" not in name}, file)
    with pytest.raises(NoScorer, match=r"12 weights are missing or too many, such as .*deepstack_merger_list\.0\."):
        load(Init(checkpoint=str(folder("qwen3_vl")), projector=str(file)), "float32", "sdpa")


@pytest.mark.parametrize("resample", [AREA, 2, 3])
def test_a_model_of_parts_gets_the_processor_that_it_was_trained_with(resample: int, tmp_path: Path):
    of = family("llava_onevision")
    of.pixel = replace(of.pixel, resample=resample)
    write_checkpoint(tmp_path, of, of.model.state_dict(), init=None)
    assert PixelRule.load(str(tmp_path)) == of.pixel
    check(str(tmp_path), told(of))


def test_another_weight_or_another_answer_is_no_export(runs: Runs, tmp_path: Path):
    of, trained = family("llava_onevision"), weights(runs / "z3")
    of.model.load_state_dict(trained)
    out, expected = runs / "z3" / "export", told(of)
    check(str(out), expected)
    with pytest.raises(NotEqual, match="nats a token more or less"):
        check(str(out), {**expected, "nll": [value + 0.001 for value in expected["nll"]]})
    changed = shutil.copytree(out, tmp_path / "changed")
    held = load_file(changed / "model.safetensors")
    held["multi_modal_projector.linear_2.bias"] += 1e-6
    save_file(held, changed / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadExport, match=r"1 of \d+ weights differ, such as model.multi_modal_projector.linear_2.bias"):
        verify(changed, trained, expected["nll"], "float32")  # in a process of its own
