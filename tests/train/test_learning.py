"""How a pack is computed: the same calls on all ranks, gradients for all that learns, and golden losses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.train.collate import dummy, pack
from pipeline.train.example import Pack
from pipeline.train.groups import freeze
from pipeline.train.recipe import Parts
from tests.models.tiny import KINDS
from tests.train.model_kit import Subject, folder, grads

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=KINDS)
def subject(request: pytest.FixtureRequest) -> Subject:
    return Subject(request.param)


def test_every_pack_calls_the_same_modules_in_the_same_order(subject: Subject) -> None:
    """One call of the tower, one of the projector, one of the head: this is what ranks stay in step by."""
    made = [pack(subject.examples, subject.family), pack(subject.examples[2:3], subject.family), dummy(subject.family)]
    called = [_called(subject.model, one) for one in made]
    assert called[0] == called[1] == called[2]
    once = {"llava_onevision": ("vision_tower", "multi_modal_projector"), "qwen2_5_vl": ("visual", "visual.merger")}
    kind = subject.family.model.config.model_type
    for name in (*once.get(kind, once["qwen2_5_vl"]), "language_model", "language_model.embed_tokens"):
        assert called[0].count(f"model.model.{name}") == 1
    assert called[0].count("model.lm_head") == 1


def _called(model: nn.Module, made: Pack) -> list[str]:
    """Names of the modules that own a weight or are asked for, in the order of their calls."""
    order: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda _module, _args, name=name: order.append(name))
        for name, module in model.named_modules()
    ]
    model(made)
    for handle in handles:
        handle.remove()
    return order


@pytest.mark.parametrize("parts", [Parts(), Parts(vision=False), Parts(vision=False, language=False)], ids=str)
def test_what_is_frozen_gets_no_gradient_and_all_else_one_from_any_pack(subject: Subject, parts: Parts) -> None:
    """A rank whose pack has no picture, or no label, must still give all gradients: they are summed by name."""
    freeze(subject.family.model, parts)
    learns = {name for name, weight in subject.model.named_parameters() if weight.requires_grad}
    assert not any("post_layernorm" in name for name in learns)
    for examples in (subject.examples, subject.examples[2:3], ()):
        subject.model.zero_grad(set_to_none=True)
        subject.nll(examples).sum().backward()
        found = grads(subject.model)
        assert set(found) == learns
        teaches = examples and (parts.language or examples == subject.examples)
        assert any(g.abs().max() > 0 for g in found.values()) == bool(teaches)


@pytest.mark.parametrize("switch", [{"language": True, "vision": True}, {"language": True, "vision": False}], ids=str)
def test_activation_checkpointing_changes_no_gradient(subject: Subject, switch: dict[str, bool]) -> None:
    freeze(subject.family.model, Parts())
    loss = subject.nll(subject.examples).sum()
    loss.backward()
    before = grads(subject.model)
    subject.model.zero_grad(set_to_none=True)
    subject.model.checkpoint_activations(**switch)
    again = _called(subject.model, pack(subject.examples, subject.family))
    computed: list[int] = []
    layer = subject.model.model.model.language_model.layers[0]
    layer.register_forward_pre_hook(lambda *_: computed.append(1))
    repeated = subject.nll(subject.examples).sum()
    repeated.backward()
    assert len(computed) == 2  # there and back
    assert again.count("model.model.language_model.layers.0") == 1
    torch.testing.assert_close(repeated, loss, atol=0, rtol=0)
    torch.testing.assert_close(grads(subject.model), before, atol=1e-5, rtol=1e-5)


def test_a_head_in_parts_is_the_whole_head(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    subject.model.double()  # in float32 two blockings of one product differ by 1.9e-6 of 6 nats on some processors
    freeze(subject.family.model, Parts())
    whole = subject.nll(subject.examples)
    whole.sum().backward()
    before = grads(subject.model)
    subject.model.zero_grad(set_to_none=True)
    monkeypatch.setattr("pipeline.train.model.LOGITS", 3 * subject.family.model.lm_head.out_features)
    assert _called(subject.model, pack(subject.examples, subject.family)).count("model.lm_head") == 1
    parts = subject.nll(subject.examples)
    parts.sum().backward()
    assert len(whole) > 6
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(grads(subject.model), before, atol=1e-5, rtol=1e-5)


GOLDEN = {
    "llava_onevision": [8.24355, 7.40228, 4.98056, 5.25901, 3.45941, 3.99982, 1.99284, 2.98446, 1.14146, 2.0993],
    "qwen2_5_vl": [8.6751, 6.86277, 4.05133, 4.44758, 1.67003, 2.6934, 0.65513, 1.52151, 0.17964, 0.92927],
    "qwen3_vl": [8.47932, 6.54138, 4.24199, 3.79404, 2.41562, 2.87332, 0.81938, 1.61861, 0.17347, 0.85027],
}


def test_losses_of_ten_steps_are_the_golden_ones(subject: Subject) -> None:
    kind = subject.family.model.config.model_type
    losses = _ten_steps(subject)
    assert losses[-1] < losses[0] - 1
    np.testing.assert_allclose(losses, GOLDEN[kind], atol=1e-4)


def _ten_steps(subject: Subject) -> list[float]:
    freeze(subject.family.model, Parts())
    weights = [w for w in subject.model.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.0)
    losses = []
    for step in range(10):
        loss = subject.nll(subject.examples[:3] if step % 2 else subject.examples[2:]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
    return losses


def test_a_model_is_trained_where_only_torch_and_transformers_are() -> None:
    code = f"""
import sys
for name in ("ray", "av", "cv2", "pyarrow", "pydantic", "deepspeed", "torchvision", "typer"):
    sys.modules[name] = None
from types import SimpleNamespace
from stages.models.load import load_family
from pipeline.train.collate import dummy, pack
from pipeline.train.encode import Encoder
from pipeline.train.example import Conversation
from pipeline.train.groups import freeze, param_groups
from pipeline.train.model import PackedModel
family = load_family({str(folder("llava_onevision"))!r}, dtype="float32", device="cpu", max_pixels=None)
text = SimpleNamespace(template="chat", labels="assistant_only", prompt="frames", max_length=4096)
example = Encoder(family, text, 9).encode(Conversation("", "", "", (("What?", "This."),), None))
assert PackedModel(family)(pack([example], family)).mean() > 0
assert PackedModel(family)(dummy(family)).shape == (0,)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
