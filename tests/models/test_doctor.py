"""`utr doctor` on sound and on broken checkpoints: exit codes, and that it says what is wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.doctor import UNUSABLE, WRONG, doctor
from stages.models.family import Family
from stages.models.qwen3_vl import Qwen3VL
from tests.models.tiny import checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint("qwen3_vl", tmp_path_factory.mktemp("qwen3_vl"))


def run(model: object, **changed: Any) -> int:
    return doctor(
        str(model), **{"device": "cpu", "dtype": "float32", "frames": 4, "max_pixels": 32 * 32 * 4, **changed}
    )


def test_a_sound_checkpoint(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, dtype=None) == 0
    said = capsys.readouterr().out
    for part in (
        "Qwen3VLForConditionalGeneration",
        "64 x 64 px, 4 tokens a pair of frames",
        "bfloat16",
        "4096",
        "sound",
    ):
        assert part in said


def test_the_embedded_scorer(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("embedded", frames=8, max_pixels=None) == 0
    assert "calibrated" in capsys.readouterr().out


def test_an_engine_that_is_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Qwen3VL, "deep", Family.deep)  # deeper layers of the tower forgotten
    assert run(folder) == WRONG
    assert "wrong: float32: the engine is" in capsys.readouterr().out


def test_weights_that_are_not_finite(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(folder, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["lm_head.weight"] = torch.full_like(weights["lm_head.weight"], float("nan"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    assert run(broken) == WRONG
    assert "not finite" in capsys.readouterr().out


def test_a_vision_tower_that_nobody_hears(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deaf = shutil.copytree(folder, tmp_path / "deaf")
    config = json.loads((deaf / "config.json").read_text())
    assert config["model_type"] == "qwen3_vl"
    from safetensors.torch import load_file, save_file

    weights = load_file(deaf / "model.safetensors")
    for name in weights:
        if "layers" in name and "o_proj" in name:
            weights[name] = torch.zeros_like(weights[name])  # no token hears another
    save_file(weights, deaf / "model.safetensors", metadata={"format": "pt"})
    assert run(deaf) == WRONG
    assert "frames do not change" in capsys.readouterr().out


def test_what_cannot_be_used(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == UNUSABLE
    assert "lacks config.json" in capsys.readouterr().err
    short = shutil.copytree(folder, tmp_path / "short")
    config = json.loads((short / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 64
    (short / "config.json").write_text(json.dumps(config))
    assert run(short) == UNUSABLE
    assert "Fewer --frames" in capsys.readouterr().err
    assert run(folder, dtype="int4") == UNUSABLE
    assert "dtype 'int4'" in capsys.readouterr().err
