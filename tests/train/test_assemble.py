"""A model to begin with: from tiny SigLIP and Qwen2 checkpoints, with projectors of ours and of LLaVA."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from pipeline.train.assemble import load, new_from_parts
from pipeline.train.collate import pack
from pipeline.train.groups import freeze
from pipeline.train.model import PackedModel
from pipeline.train.recipe import Init, Parts
from stages.models.checkpoint import NoScorer
from tests.models.tiny import PARTS, SPECIAL, SYSTEM, tokenizer
from tests.train.model_kit import encoder, film, folder, grads, image, said

QWEN2 = SYSTEM + PARTS.replace("<|vision_start|><|video_pad|><|vision_end|>", "").replace(
    "<|vision_start|><|image_pad|><|vision_end|>", ""
)
LAYERS, SIDE_PX, HIDDEN = 3, 56, 64


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("language")
    torch.manual_seed(1)
    tok = tokenizer(QWEN2, SPECIAL[:3])
    config = Qwen2Config(
        vocab_size=len(tok) + 8, hidden_size=HIDDEN, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, eos_token_id=2, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(path)
    tok.save_pretrained(path)
    return path


def _vision_config() -> dict[str, Any]:
    return {
        "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": LAYERS, "num_attention_heads": 3,
        "image_size": SIDE_PX, "patch_size": 14,
    }  # fmt: skip


@pytest.fixture(scope="module", params=["tower alone", "with a text model"])
def vision(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As it is published: both towers, the head, and a processor."""
    path = tmp_path_factory.mktemp("vision")
    torch.manual_seed(2)
    if request.param == "tower alone":
        SiglipVisionModel(SiglipVisionConfig(**_vision_config())).save_pretrained(path)
    else:
        text = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 3}
        SiglipModel(SiglipConfig(text_config=text, vision_config=_vision_config())).save_pretrained(path)
    SiglipImageProcessorPil(size={"height": SIDE_PX, "width": SIDE_PX}).save_pretrained(path)
    return path


@pytest.fixture
def parts(language: Path, vision: Path) -> Init:
    return Init(language=str(language), vision=str(vision))


def test_parts_are_the_checkpoints_without_the_last_layer(parts: Init, language: Path, vision: Path) -> None:
    family = load(parts, "float32", "sdpa")
    causal = Qwen2ForCausalLM.from_pretrained(language)
    tower = SiglipVisionModel.from_pretrained(vision)
    body = family.model.model
    assert len(body.vision_tower.encoder.layers) == LAYERS - 1 == family.model.config.vision_config.num_hidden_layers
    assert not any(name.startswith("head") for name, _ in body.vision_tower.named_parameters())
    for k in range(LAYERS - 1):
        ours, theirs = body.vision_tower.encoder.layers[k], tower.encoder.layers[k]
        torch.testing.assert_close(dict(ours.named_parameters()), dict(theirs.named_parameters()), atol=0, rtol=0)
    torch.testing.assert_close(
        dict(body.language_model.named_parameters()), dict(causal.model.named_parameters()), atol=0, rtol=0
    )
    spare = len(tokenizer(QWEN2, SPECIAL[:3]))
    assert (family.image_id, family.video_id) == (spare, spare + 1)
    assert family.model.lm_head.weight.shape == causal.lm_head.weight.shape
    assert not any(p.is_meta for p in [*family.model.parameters(), *family.model.buffers()])
    assert family.pixel.resample == SiglipImageProcessorPil.resample


def test_stage_one_teaches_the_projector_alone(parts: Init) -> None:
    family = load(parts, "float32", "sdpa")
    model = PackedModel(family)
    freeze(family.model, Parts(vision=False, language=False))
    plain = encoder(family, template="plain", image_tiles=1)
    loss = model(pack([plain.encode(said(image((100, 70)))), plain.encode(said(image((30, 90))))], family)).mean()
    loss.backward()
    assert 0 < loss < 10
    assert {n.removeprefix("model.model.multi_modal_projector.") for n in grads(model)} == {
        "linear_1.weight", "linear_1.bias", "linear_2.weight", "linear_2.bias",
    }  # fmt: skip
    (label,) = {e.label_S.tolist()[-1] for e in [plain.encode(said(image((100, 70))))]}
    assert family.tokenizer.decode([label]) == "\n"


def test_what_is_new_is_the_same_in_each_process(parts: Init) -> None:
    torch.manual_seed(5)
    first = load(parts, "float32", "sdpa").model
    torch.manual_seed(6)
    expected = torch.rand(1)
    torch.manual_seed(6)
    second = load(parts, "float32", "eager").model
    torch.testing.assert_close(torch.rand(1), expected, atol=0, rtol=0)  # and disturbs nobody's draws
    torch.testing.assert_close(dict(first.named_parameters()), dict(second.named_parameters()), atol=0, rtol=0)
    newline = first.model.image_newline.detach()
    assert 0.5 < float(newline.std()) * HIDDEN**0.5 < 2
    assert second.model.language_model.config._attn_implementation == "eager"


def test_a_projector_of_ours_and_of_llava_is_laid_over(parts: Init, tmp_path: Path) -> None:
    weights = {
        "linear_1.weight": torch.randn(HIDDEN, 48), "linear_1.bias": torch.randn(HIDDEN),
        "linear_2.weight": torch.randn(HIDDEN, HIDDEN), "linear_2.bias": torch.randn(HIDDEN),
    }  # fmt: skip
    save_file({f"multi_modal_projector.{n}": w for n, w in weights.items()}, tmp_path / "projector.safetensors")
    number = {"linear_1": "0", "linear_2": "2"}
    theirs = {f"model.mm_projector.{number[n.split('.')[0]]}.{n.split('.')[1]}": w for n, w in weights.items()}
    torch.save(theirs, tmp_path / "mm_projector.bin")
    for name in ("projector.safetensors", "mm_projector.bin"):
        init = parts.model_copy(update={"projector": str(tmp_path / name)})
        found = load(init, "bfloat16", "sdpa").model.model.multi_modal_projector.state_dict()
        torch.testing.assert_close(found, {n: w.bfloat16() for n, w in weights.items()}, atol=0, rtol=0)
    small = {f"multi_modal_projector.{n}": torch.zeros(2, 2) for n in weights}
    for bad, told in ((weights, "8 weights are missing or too many"), (small, "size mismatch")):
        save_file(bad, tmp_path / "bad.safetensors")
        with pytest.raises(NoScorer, match=f"(?s)no projector of this model.*{told}"):
            load(parts.model_copy(update={"projector": str(tmp_path / "bad.safetensors")}), "float32", "sdpa")


def test_a_model_of_parts_is_saved_and_read_as_any_checkpoint(parts: Init, tmp_path: Path) -> None:
    family: Any = load(parts, "float32", "sdpa")
    model = PackedModel(family)
    example = encoder(family).encode(said(film(2)))
    with torch.no_grad():
        before = model(pack([example], family))
    family.model.save_pretrained(tmp_path)
    family.tokenizer.save_pretrained(tmp_path)
    family.processor().save_pretrained(tmp_path)
    again = load(Init(checkpoint=str(tmp_path)), "float32", "sdpa")
    assert again.pixel == family.pixel
    with torch.no_grad():
        after = PackedModel(again)(pack([encoder(again).encode(said(film(2)))], again))
    torch.testing.assert_close(after, before, atol=1e-6, rtol=0)


def test_what_cannot_be_put_together_is_refused_by_name(language: Path, vision: Path, tmp_path: Path) -> None:
    for bad in (Init(language=str(vision), vision=str(vision)), Init(language=str(tmp_path), vision=str(vision))):
        with pytest.raises(NoScorer, match=r"init.language .* cannot be loaded"):
            load(bad, "float32", "sdpa")
    with pytest.raises(NoScorer, match=r"init.vision .*it is a qwen2; a tower to begin with is a SigLIP"):
        load(Init(language=str(language), vision=str(language)), "float32", "sdpa")
    with pytest.raises(NoScorer, match="no such folder"):
        load(Init(checkpoint="nothing here"), "float32", "sdpa")
    full = tmp_path / "full"
    causal = Qwen2ForCausalLM.from_pretrained(language)
    causal.resize_token_embeddings(300)
    causal.save_pretrained(full)
    tokenizer(PARTS).save_pretrained(full)
    with pytest.raises(NoScorer, match="300 rows leave none spare"):
        new_from_parts(str(full), str(vision), precision="float32")


def test_a_checkpoint_is_loaded_as_the_scorer_loads_it() -> None:
    family = load(Init(checkpoint=str(folder("qwen2_5_vl"))), "bfloat16", "eager")
    assert family.model.dtype == torch.bfloat16
    assert family.model.model.language_model.config._attn_implementation == "eager"
    assert load(Init(checkpoint="embedded"), "float32", "sdpa").pixel.side_px == 96
