"""Which checkpoint an expert is, and its licence, which is read or asked for and never guessed."""

import json
import shutil
from pathlib import Path

import pytest

from stages.algorithms.expert_id import expert_id
from stages.models.expert_weights import BadExpert, card_licence, find_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint as far as it is looked at here."""
    made = tmp_path / "some-detector"
    made.mkdir()
    (made / "config.json").write_text(json.dumps({"model_type": "rt_detr"}))
    (made / "preprocessor_config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(b"weights")
    return made


def _card(folder: Path, front: str) -> Path:
    card = folder / "README.md"
    card.write_text(f"---\n{front}\n---\n# Some detector\n")
    return card


@pytest.mark.parametrize(
    ("front", "licence"),
    [
        ("license: apache-2.0", "apache-2.0"),
        ("license: other\nlicense_name: sam-licence", "sam-licence"),
        ("license: other", ""),
        ("tags: [detection]", ""),
        ("license: [a, : b", ""),
    ],
)
def test_the_licence_is_what_the_cards_front_matter_states(folder: Path, front: str, licence: str) -> None:
    assert card_licence(_card(folder, front)) == licence


def test_a_card_without_front_matter_states_nothing(folder: Path) -> None:
    (folder / "README.md").write_text("# A detector\nlicense: mit\n")
    assert card_licence(folder / "README.md") == ""
    assert card_licence(None) == ""


def test_a_licence_that_cannot_be_read_is_asked_for(folder: Path) -> None:
    with pytest.raises(BadExpert, match=r"no model card \(README\.md\) that states one.*is not guessed"):
        find_weights(str(folder), "", "")
    assert find_weights(str(folder), "", "mit").licence == "mit"


def test_a_licence_that_the_card_contradicts_is_refused(folder: Path) -> None:
    _card(folder, "license: agpl-3.0")
    assert find_weights(str(folder), "", "AGPL-3.0").licence == "agpl-3.0"
    with pytest.raises(BadExpert, match=r"licence 'mit': the card of .* states 'agpl-3\.0'"):
        find_weights(str(folder), "", "mit")


def test_a_folder_is_known_by_its_bytes_wherever_it_lies(folder: Path, tmp_path: Path) -> None:
    one = find_weights(str(folder), "", "mit")
    assert one.name == "some-detector"
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    assert find_weights(str(moved), "", "mit").revision == one.revision
    (moved / "model.safetensors").write_bytes(b"others")
    find_weights.cache_clear()
    assert find_weights(str(moved), "", "mit").revision != one.revision


def test_what_is_no_checkpoint_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadExpert, match=r"lacks weights \(\*\.safetensors\)"):
        find_weights(str(folder), "", "mit")
    with pytest.raises(BadExpert, match="no such folder, and no hub id"):
        find_weights("nowhere/at/all", "", "mit")
    with pytest.raises(BadExpert, match="no such folder, and no hub id"):
        find_weights("", "", "mit")
    with pytest.raises(BadExpert, match="revision 'main' is of a hub id"):
        find_weights(str(folder), "main", "mit")


def test_a_hub_id_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadExpert, match=r"hf download org/detector"):
        find_weights("org/detector", "", "")


def test_rows_name_expert_weights_licence_and_library() -> None:
    named = expert_id("onnx", "ssdlite", "ee459382245d", licence="apache-2.0", library="onnxruntime 1.32.0")
    assert named == "onnx/ssdlite@ee459382245d (apache-2.0; onnxruntime 1.32.0)"
    assert expert_id("motion", "1", "", licence="", library="x 1") == "motion/1 (licence not stated; x 1)"
