"""benchmarks/train_gpu.py on a CPU: what it compares is the same work, and it needs torch and transformers only."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.tpl_models import SIDE_PX, build
from benchmarks.train_gpu import BICUBIC, padded
from benchmarks.train_mix import SETUPS, Setup, drawn, packed
from pipeline.train.collate import pack
from pipeline.train.model import PackedModel
from stages.models.pixels import PixelRule

ROOT = Path(__file__).parents[1]
SETUP: Setup = SETUPS["tiny"]


def test_padded_rows_are_packed_rows() -> None:
    torch.set_num_threads(1)
    family = build(SETUP.size)
    family.pixel = PixelRule(SIDE_PX, (0.5,) * 3, (0.5,) * 3, BICUBIC)
    model = PackedModel(family)
    examples = drawn(family, SETUP)
    assert {e.family for e in examples} == {"text", "image", "video"}
    rows = packed(examples, SETUP)
    assert sorted(e.sample_id for row in rows for e in row) == sorted(e.sample_id for e in examples)
    assert 1 < len(rows) < len(examples)
    assert all(len(pack(row, family).token_id_S) <= SETUP.micro_tokens or len(row) == 1 for row in rows)
    with torch.no_grad():
        torch.testing.assert_close(padded(model, family, examples[:4]), model(pack(examples[:4], family)))


def test_it_runs_where_only_torch_and_transformers_are(tmp_path: Path) -> None:
    code = f"""
import sys
for name in ("ray", "av", "cv2", "pyarrow", "pydantic", "deepspeed", "torchvision", "typer"):
    sys.modules[name] = None
import torch
torch.set_num_threads(1)
from benchmarks.train_gpu import main
sys.argv[1:] = ["--size", "tiny", "--device", "cpu", "--out", {str(tmp_path / "found.json")!r}]
raise SystemExit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    arms = {(a["rows"], a["checkpointing"]): a for a in found["arms"]}
    assert len(arms) == 6
    losses = [a["loss"] for a in arms.values()]
    assert losses == pytest.approx([losses[0]] * 6, rel=1e-4)  # the same samples, the same weights
    assert arms["packed", False]["fill"] == 1 > arms["padded", False]["fill"]
    assert found["packed_over_padded"]["with"] > 0
    assert found["useful_tflops"] > 0
