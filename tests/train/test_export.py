"""What is exported is the model that was trained, under the names that published checkpoints have."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, LlavaOnevisionForConditionalGeneration

from pipeline.train.export import CHECKED, BadExport, digest, verify, write_checkpoint
from pipeline.train.verify_export import NotEqual, check
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


def test_the_projector_alone(tmp_path: Path):
    of = family("llava_onevision")
    write_checkpoint(tmp_path, of, of.model.state_dict(), init=str(folder("llava_onevision")))
    part = load_file(tmp_path / "projector.safetensors")
    other = family("llava_onevision").model.model.multi_modal_projector
    assert part.keys() == {"linear_1.weight", "linear_1.bias", "linear_2.weight", "linear_2.bias"}
    other.load_state_dict(part)


def test_a_model_of_parts_gets_a_processor(tmp_path: Path):
    of = family("llava_onevision")
    write_checkpoint(tmp_path, of, of.model.state_dict(), init=None)
    told = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert (told["size"], told["image_mean"]) == ({"height": 56, "width": 56}, list(of.pixel.mean))
    told = {
        "weights": {n: digest(w) for n, w in of.model.state_dict().items()},
        "text": CHECKED,
        "precision": "float32",
    }
    check(str(tmp_path), {**told, "nll": nats(of.model, of.tokenizer)})


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
