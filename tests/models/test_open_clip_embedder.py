"""A tiny CLIP, saved and loaded by its folder: its vectors are its own, whatever shares a batch. Needs open_clip."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.models.embedder import EmbedderUnusable
from stages.name_tracks import NameTracks
from tests.stages.test_name_tracks import ALL, BLUE, MINE, RED, Clips, always

pytestmark = [
    pytest.mark.experts,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(find_spec("open_clip") is None, reason="open_clip is not installed: make experts"),
]

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
SIDE_PX = 32
CONFIG: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": SIDE_PX, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def save(folder: Path, seed: int) -> Path:
    """A checkpoint folder as open_clip reads it, with random weights."""
    import open_clip  # pyright: ignore[reportMissingImports]
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    folder.mkdir()
    save_file(open_clip.model.CLIP(**CONFIG).state_dict(), folder / "open_clip_model.safetensors")
    text = {"model_cfg": CONFIG, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (folder / "open_clip_config.json").write_text(json.dumps(text))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("clip") / "tiny", 0)


@pytest.fixture(scope="module")
def embedder(folder: Path) -> Any:
    from stages.models.open_clip_embedder import load_embedder

    return load_embedder(f"local-dir:{folder}", "", licence="mit")


def noise(n: int, height: int = SIDE_PX, width: int = SIDE_PX) -> list[np.ndarray]:
    return list(np.random.default_rng(height).integers(0, 256, (n, height, width, 3), dtype=np.uint8))


def test_a_vector_is_that_of_the_models_own_forward(embedder: Any) -> None:
    pictures = noise(3)
    ready = (np.stack(pictures) / 255 - MEAN) / STD
    with torch.inference_mode():
        plain = embedder._net.encode_image(torch.from_numpy(ready).permute(0, 3, 1, 2).float()).numpy()
    want = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    assert np.abs(embedder.pictures(pictures) - want).max() < 1e-5
    assert np.abs(want @ want.T - np.eye(3)).max() > 1e-3  # they do differ: this compares no constants
    assert embedder.scale == pytest.approx(float(embedder._net.logit_scale.detach().exp()))


def test_a_vector_does_not_depend_on_what_shares_its_batch(embedder: Any) -> None:
    pictures = [*noise(70), *noise(3, 50, 20), *noise(3, 20, 90)]
    together = embedder.pictures(pictures)
    alone = np.concatenate([embedder.pictures([picture]) for picture in pictures])
    assert np.abs(together - alone).max() < 1e-5
    assert np.abs(embedder.pictures(pictures[::-1])[::-1] - together).max() < 1e-5
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(76), abs=1e-5)
    words = ["a photo of a car.", "a photo of a large blue bus."]
    assert np.abs(embedder.texts(words)[1] - embedder.texts(words[1:])[0]).max() < 1e-5


def test_the_ends_of_a_tall_picture_are_seen(embedder: Any) -> None:
    tall = np.full((96, 32, 3), 90, np.uint8)
    with_head = tall.copy()
    with_head[:20] = (255, 0, 0)
    gap = np.abs(np.subtract(*embedder.pictures([tall, with_head]))).max()
    assert gap > 1e-3


def test_a_text_that_would_be_cut_is_refused(embedder: Any) -> None:
    with pytest.raises(EmbedderUnusable, match=r"'a photo .* sky\.' is longer than the 12 tokens"):
        embedder.texts(["a car", "a photo of a very long and very old wooden boat under a grey sky."])


def test_a_folder_without_weights_is_refused_not_filled_with_noise(folder: Path, tmp_path: Path) -> None:
    from stages.models.open_clip_embedder import load_embedder

    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(EmbedderUnusable, match=r"name\.model='local-dir:.*bare'"):
        load_embedder(f"local-dir:{bare}", "", licence="mit")


def test_the_stage_names_with_the_model_of_a_folder_and_says_which(folder: Path, tmp_path: Path) -> None:
    clips = Clips(tmp_path / "store")
    row = clips(("", always(RED), ALL), ("", always(BLUE), ALL))

    def stage(model: Path) -> NameTracks:
        return NameTracks(**{**MINE, "model": str(model), "pretrained": "", "store_dir": str(clips.folder)})

    eyes = stage(folder).open()
    try:
        (named,) = stage(folder).process(eyes, [row])
    finally:
        stage(folder).close(eyes)
    for track in named.tracks:
        assert track.naming
        assert track.naming.namer.startswith("open_clip/tiny@")
        assert track.naming.namer.endswith("(mit; open_clip_torch 3.3.0)")
        assert (track.naming.word in MINE["names"], len(track.naming.embedding)) == (True, 2 * CONFIG["embed_dim"])
    shutil.copytree(folder, tmp_path / "tiny2")
    other = save(tmp_path / "other", 1)
    assert stage(tmp_path / "tiny2").fingerprint == stage(folder).fingerprint != stage(other).fingerprint
