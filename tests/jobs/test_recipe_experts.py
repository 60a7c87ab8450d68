"""Recipes that name experts: sections that fit together, and what is said of those that do not."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.build_utr_data import build_plan
from jobs.recipe import RecipeError, load_recipe
from tests.models import tiny_detectors, tiny_sam2
from tests.models.tiny_onnx import write, write_labels


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("experts")
    model, anchors = write(folder)
    onnx = {"expert": "onnx", "model": str(model), "anchors": str(anchors), "labels": str(write_labels(folder))}
    return {
        "onnx": onnx,
        "hf": {
            "expert": "hf",
            "model": str(tiny_detectors.write(folder / "owl", "owlv2")),
            "classes": ["person", "traffic light"],
        },
        "sam2": {"model": str(tiny_sam2.write(folder / "sam2"))},
    }


def _load(tmp_path: Path, **recipe: Any):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return load_recipe(str(path))


def test_experts_take_their_places_in_the_plan(sections: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    recipe = _load(tmp_path, detect=sections["hf"], track_masks=sections["sam2"], check=sections["onnx"])
    names = [type(stage).__name__ for stage in build_plan(recipe, []).stages]
    at = names.index("DetectObjects")
    assert names[at : at + 4] == ["DetectObjects", "TrackMasks", "CheckTracks", "DescribeTracks"]
    assert recipe.detect.classes == ("person", "traffic light")
    plain = [type(stage).__name__ for stage in build_plan(_load(tmp_path, seed=0), []).stages]
    assert plain[at : at + 3] == ["DetectObjects", "TrackObjects", "DescribeTracks"]


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"detect": "hf", "track_masks": "sam2", "track": {}}, "takes the place of track"),
        ({"track_masks": "sam2"}, "masks are begun by a detector's boxes"),
        ({"check": "onnx"}, "gives no labels to agree on"),
        ({"detect": "hf", "check": {"expert": "onnx", "modell": "x"}}, "check: unknown key modell"),
        ({"detect": {"expert": "hf"}}, "no such folder, and no hub id"),
    ],
)
def test_sections_that_do_not_fit_are_named(
    sections: dict[str, dict[str, Any]], tmp_path: Path, recipe: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        _load(tmp_path, **{k: sections[v] if isinstance(v, str) else v for k, v in recipe.items()})
