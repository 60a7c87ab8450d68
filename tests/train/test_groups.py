"""Which weights learn, in which group, at what rate."""

from itertools import pairwise, product
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pipeline.train.groups import freeze, lr_at, param_groups, part_of
from pipeline.train.recipe import Optim, Parts
from tests.models.tiny import KINDS
from tests.train.model_kit import family

OPTIM = Optim(lr=1e-5, vision_lr=2e-6, projector_lr=1e-4, weight_decay=0.1)
FAMILIES = {kind: family(kind).model for kind in KINDS}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> Any:
    return FAMILIES[request.param]


@pytest.mark.parametrize("learns", list(product([True, False], repeat=3))[:-1], ids=str)
def test_groups_are_what_learns_and_nothing_twice(model: Any, learns: tuple[bool, bool, bool]) -> None:
    train = Parts(vision=learns[0], projector=learns[1], language=learns[2])
    freeze(model, train)
    groups = {g["name"]: g for g in param_groups(model, OPTIM)}
    wanted = [part for part, on in zip(("vision", "projector", "language"), learns, strict=True) if on]
    assert set(groups) == {f"{part}/{decay}" for part in wanted for decay in ("decay", "no_decay")}
    own = [id(p) for g in groups.values() for p in g["params"]]
    assert sorted(own) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert all(p.ndim > 1 for name, g in groups.items() for p in g["params"] if name.endswith("/decay"))
    assert all(p.ndim <= 1 for name, g in groups.items() for p in g["params"] if name.endswith("/no_decay"))
    for name, group in groups.items():
        assert group["lr"] == {"vision": 2e-6, "projector": 1e-4, "language": 1e-5}[name.split("/")[0]]
        assert group["weight_decay"] == (0.1 if name.endswith("/decay") else 0)
    torch.optim.AdamW([dict(g) for g in groups.values()], lr=1.0)


def test_every_part_is_where_it_is_expected() -> None:
    freeze(FAMILIES["llava_onevision"], Parts())
    model = FAMILIES["llava_onevision"]
    assert part_of(model, "model.image_newline") == part_of(model, "lm_head.weight") == "language"
    still = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert still == ["model.vision_tower.post_layernorm.weight", "model.vision_tower.post_layernorm.bias"]
    qwen = FAMILIES["qwen2_5_vl"]
    assert part_of(qwen, "model.visual.merger.mlp.0.weight") == "projector"
    assert part_of(qwen, "model.visual.blocks.0.norm1.weight") == "vision"
    with pytest.raises(ValueError, match=r"weight model\.adapter\.weight of a qwen2_5_vl belongs to no part"):
        part_of(qwen, "model.adapter.weight")


def test_without_a_rate_of_its_own_a_part_has_the_common_one() -> None:
    freeze(FAMILIES["llava_onevision"], Parts())
    groups = param_groups(FAMILIES["llava_onevision"], Optim(lr=3e-4, vision_lr=None))
    assert {g["lr"] for g in groups} == {3e-4}


def test_a_part_that_is_to_learn_but_has_no_weight_is_an_error() -> None:
    model = family("llava_onevision").model
    for weight in model.parameters():
        weight.requires_grad_(False)
    with pytest.raises(ValueError, match="no weight learns in any group"):
        param_groups(model, OPTIM)
    model.model.multi_modal_projector.linear_1.weight.requires_grad_(True)
    with pytest.raises(ValueError, match="no weight learns in projector/no_decay"):
        param_groups(model, OPTIM)
    model.config.vision_feature_layer = -2
    with pytest.raises(ValueError, match="vision_feature_layer is -2"):
        freeze(model, Parts())


def test_a_model_without_the_part_is_an_error() -> None:
    blind = torch.nn.Module()
    blind.config = SimpleNamespace(model_type="llava_onevision")  # type: ignore[assignment]
    blind.lm_head = torch.nn.Linear(2, 2)
    freeze(blind, Parts(vision=False, projector=False))
    with pytest.raises(ValueError, match="train: vision, projector: this model has no such weights"):
        freeze(blind, Parts())


def test_a_part_that_is_wanted_is_never_left_out(model: Any) -> None:
    """All weights of the checkpoint are in one of the three parts."""
    parts = {part_of(model, name) for name, _ in model.named_parameters()}
    assert parts == {"vision", "projector", "language"}


def test_rates_warm_up_and_fall() -> None:
    optim = Optim(warmup_ratio=0.1)
    cosine = [lr_at(step, 100, optim) for step in range(100)]
    assert cosine[:11] == [pytest.approx((k + 1) / 10) for k in range(10)] + [1.0]
    assert cosine[55] == pytest.approx(0.5)
    assert 0 < cosine[-1] < 1e-3
    assert all(a >= b for a, b in pairwise(cosine[10:]))
    linear = [lr_at(step, 100, Optim(warmup_ratio=0.0, schedule="linear")) for step in (0, 50, 99)]
    assert linear == [1.0, 0.5, pytest.approx(0.01)]
    assert lr_at(99, 100, Optim(schedule="constant")) == 1.0
    assert lr_at(0, 1, Optim()) == 1.0  # a run of one step learns
    assert lr_at(500, 100, Optim()) == 0
