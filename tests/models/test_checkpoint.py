"""Scorers by folder and by hub id: a hub cache on disk, no network."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from stages.models import checkpoint as module
from stages.models.checkpoint import NoScorer, find, revision
from stages.models.load import load_scorer
from tests.models.tiny import ONEVISION, checkpoint

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint("llava_onevision", tmp_path_factory.mktemp("onevision"))


def _offline(home: Path, code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_a_hub_id_is_loaded_from_the_cache_and_named_by_its_commit(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "hub" / "models--org--name"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    shutil.copytree(folder, home / "snapshots" / COMMIT)
    done = _offline(
        tmp_path,
        "from stages.models.load import load_scorer\nfrom stages.models.checkpoint import find\n"
        "s = load_scorer('org/name'); print(s.name, s.thresholds, find('org/name').commit)",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"org/name@{COMMIT[:12]}", "None", COMMIT]


def test_a_hub_id_that_cannot_be_had_names_the_remedy(tmp_path: Path) -> None:
    done = _offline(tmp_path, "from stages.models.checkpoint import find; find('org/name')")
    assert "NoScorer: scorer 'org/name': no such folder, and its config cannot be had" in done.stderr
    assert "hf download org/name" in done.stderr


def test_a_revision_is_the_bytes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for whole in (2**26, 1000):
        monkeypatch.setattr(module, "WHOLE", whole)
        monkeypatch.setattr(module, "END", 500)
        for change in ("", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
            copy = shutil.copytree(folder, tmp_path / f"{change}-{whole}")
            if change:
                with (copy / change).open("ab") as file:
                    file.write(b" ")
            names.append(revision(str(copy)))
    assert len(set(names)) == len(names)
    same = shutil.copytree(folder, tmp_path / "same")
    assert revision(str(same)) == revision(str(tmp_path / "-1000"))


def test_weights_in_one_format_or_another_must_be_there(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model.safetensors").unlink()
    with pytest.raises(NoScorer, match=r"lacks weights \(\*\.safetensors\)"):
        find(str(copy))


def test_an_older_processors_template_is_read(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "older")
    (copy / "chat_template.jinja").unlink()
    (copy / "chat_template.json").write_text(json.dumps({"chat_template": ONEVISION}))
    chats = [load_scorer(str(f)).family.chat for f in (folder, copy)]
    left, same = (chat.around("1 frame\n", video=True) for chat in chats)
    assert left == same


def test_a_broken_checkpoint_is_named(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "broken")
    (copy / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(NoScorer, match=r"broken' cannot be loaded"):
        load_scorer(str(copy))


def test_weights_that_are_missing_are_not_made_up(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "half")
    weights = load_file(copy / "model.safetensors")
    del weights["model.image_newline" if "model.image_newline" in weights else "image_newline"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NoScorer, match=r"1 weights are missing .* model\.image_newline"):
        load_scorer(str(copy))


def test_layers_with_a_window_read_no_further_than_it(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "windowed")
    config = json.loads((copy / "config.json").read_text())
    config["text_config"] |= {"use_sliding_window": True, "sliding_window": 200, "max_window_layers": 1}
    config["text_config"]["layer_types"] = ["full_attention", "sliding_attention"]
    (copy / "config.json").write_text(json.dumps(config))
    assert load_scorer(str(copy)).family.limit == 200


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ('{"id": "x"}', "lacks n_frames"),
        ('{"n_frames": 8}', "lacks id"),
        ("[]", "lacks id and n_frames"),
        ("{", "is no JSON"),
    ],
)
def test_a_card_that_is_not_whole_is_named_with_the_remedy(folder: Path, tmp_path: Path, card: str, says: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "scorer.json").write_text(card)
    with pytest.raises(NoScorer) as error:
        find(str(copy))
    assert f"its card {copy / 'scorer.json'} {says}" in str(error.value)
    assert f"utr calibrate --scorer {copy} --out {copy / 'scorer.json'}" in str(error.value)


@pytest.mark.parametrize(
    ("calibrated", "loaded", "verdicts"),
    [
        (None, "float32", True),
        (None, "bfloat16", False),
        ("bfloat16", "bfloat16", True),
        ("bfloat16", "float32", False),
    ],
)
def test_thresholds_hold_for_the_number_format_that_they_were_measured_in(
    folder: Path, tmp_path: Path, calibrated: str | None, loaded: str, verdicts: bool
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    card = {"id": "x", "n_frames": 8, "thresholds": {"text_gain": 1.0, "tpl_key": 1.0}}
    (copy / "scorer.json").write_text(json.dumps({**card, **({"dtype": calibrated} if calibrated else {})}))
    scorer = load_scorer(str(copy), dtype=loaded)
    assert (scorer.thresholds is not None) == verdicts
