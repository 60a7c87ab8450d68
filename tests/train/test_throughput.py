"""FLOPs of a step as the formula has them and as torch counts them."""

from types import SimpleNamespace

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

from pipeline.train.collate import pack
from pipeline.train.example import NO_LABEL, Example, Tiles
from pipeline.train.model import PackedModel
from pipeline.train.recipe import Parts
from pipeline.train.throughput import Cost, Meter, Work, peak_flops
from schemas.train import PlannedSample
from stages.models.onevision import OneVision
from tests.models.tiny import checkpoint

ALL = Parts()
PROJECTOR = Parts(vision=False, language=False)
LANGUAGE = Parts(vision=False, projector=False)
N_FRAMES, WORDS, LABELS = 3, 20, 8


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> OneVision:
    folder = checkpoint("llava_onevision", tmp_path_factory.mktemp("tiny"))
    family = OneVision.load(str(folder))
    family.model.set_attn_implementation("eager")  # torch counts no fused attention of a CPU
    return family


def _example(family: OneVision) -> Example:
    """Frames of 2 x 2 tokens and a newline, then words, of which the last ones are labels."""
    token_id_S = np.array([*[family.video_id] * (4 * N_FRAMES + 1), *range(20, 20 + WORDS)], np.int64)
    label_S = np.full(len(token_id_S), NO_LABEL)
    label_S[-LABELS:] = token_id_S[-LABELS:]
    tiles = Tiles("video", np.zeros((N_FRAMES, 56, 56, 3), np.uint8), (56, 56))
    return Example("s", "a", "f", token_id_S, label_S, np.arange(len(token_id_S))[None], tiles)


def _counted(family: OneVision, train: Parts) -> float:
    """FLOPs of a step on one film, forwards and backwards, by torch."""
    model = PackedModel(family)
    for name, weight in model.named_parameters():
        part = "vision" if "vision_tower" in name else "projector" if "projector" in name else "language"
        weight.requires_grad_(getattr(train, part))
    with FlopCounterMode(display=False) as counter:
        model(pack([_example(family)], family)).sum().backward()
    model.zero_grad(set_to_none=True)
    return counter.get_total_flops()


@pytest.mark.parametrize("train", [ALL, PROJECTOR, LANGUAGE], ids=["all", "projector", "language"])
def test_the_formula_counts_what_torch_counts(family: OneVision, train: Parts) -> None:
    cost = Cost.of(family.model.config, train)
    assert cost is not None
    n = len(_example(family).token_id_S)
    # Attention that is not fused computes what lies ahead, too.
    work = Work(tokens=n, pairs=n * n, labels=LABELS, tiles=N_FRAMES)
    assert cost.of_work(work) == pytest.approx(_counted(family, train), rel=0.01)


def test_what_is_frozen_costs_less(family: OneVision) -> None:
    work = Work(tokens=100, pairs=5050, labels=10, tiles=4)
    costs = [cost.of_work(work) for part in (ALL, LANGUAGE, PROJECTOR) if (cost := Cost.of(family.model.config, part))]
    assert costs == sorted(costs, reverse=True)
    frozen = Cost.of(family.model.config, Parts(vision=False, projector=False, language=False))
    assert frozen is not None
    assert frozen.token * 3 == Cost.of(family.model.config, ALL).token  # type: ignore[union-attr]


def test_samples_of_a_pack_do_not_attend_to_each_other() -> None:
    assert Work.of([_planned(10), _planned(20)]) == Work(tokens=30, pairs=55 + 210, labels=6, tiles=4)


@pytest.mark.parametrize(
    ("device", "precision", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989e12),
        ("NVIDIA H200", "bfloat16", 989e12),
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 312e12),
        ("NVIDIA A100-PCIE-40GB", "bfloat16", 312e12),
        ("NVIDIA H100 PCIe", "bfloat16", None),
        ("NVIDIA H100 80GB HBM3", "float32", None),
        ("NVIDIA GeForce RTX 3090", "bfloat16", None),
        ("cpu", "bfloat16", None),
    ],
)
def test_a_peak_that_is_not_known_is_not_made_up(device: str, precision: str, peak: float | None) -> None:
    assert peak_flops(device, precision) == peak


def test_mfu_is_null_without_a_peak_and_a_share_with_one() -> None:
    cost = Cost(token=10.0, pair=1.0, label=2.0, tile=100.0)
    flops = 10 * 10 + 55 + 3 * 2 + 2 * 100
    assert Meter(cost=cost, peak=1000.0).mfu([_planned(10)], 2.0) == pytest.approx(flops / 2000)
    assert Meter(cost=cost, peak=None).mfu([_planned(10)], 2.0) is None
    assert Meter(cost=None, peak=1000.0).mfu([_planned(10)], 2.0) is None


def test_another_family_is_not_counted() -> None:
    assert Cost.of(SimpleNamespace(model_type="qwen2_5_vl"), ALL) is None


def _planned(n_tokens: int) -> PlannedSample:
    return PlannedSample(
        step=0, pack=0, place=0, source="s", sample_id="a", clip_id="c", shard="d", row=0, epoch=0, n_frames=2,
        n_tokens=n_tokens, n_visual=4, n_labels=3, n_tiles=2, reserve=None,
    )  # fmt: skip
