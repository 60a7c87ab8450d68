"""Plan and encoder of each family agree: what is read has exactly the planned tokens, labels and pictures."""

from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.train import collate
from pipeline.train.loader import Make, steps
from pipeline.train.planning import prepare
from pipeline.train.recipe import TrainRecipe
from tests.models.tiny import KINDS
from tests.train.model_kit import encoder, family
from tests.train.sets import sample, write_set


def picture(size_HW: tuple[int, int]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size_HW, 3), np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_as_long_as_planned(kind: str, tmp_path: Path) -> None:
    """Films of more frames than are shown, and of so many that they are reduced; images of any shape; texts."""
    own = [sample(f"s{k}", n_frames=(5, 1, 0, 12, 2)[k % 5], words=1 + k) for k in range(15)]
    sizes = {s.clip_id: ((60, 90), (200, 40), (30, 30))[k % 3] for k, s in enumerate(own)}
    jpegs = {s.clip_id: (picture(sizes[s.clip_id]),) * len(s.frame_tick) for s in own}
    folder = write_set(tmp_path / "set", own, frames_jpeg=jpegs)
    recipe = TrainRecipe.model_validate({
        "init": {"checkpoint": "embedded"}, "batch": {"samples": 7, "micro_tokens": 400},
        "data": {"mix": {"a": {"path": str(folder)}}, "max_frames": 8}, "text": {"max_length": 190},
    })  # fmt: skip
    of = family(kind)
    ruler = encoder(of, max_length=190)
    plan = prepare(tmp_path, recipe, ruler, ["encoder = 1"])
    make = Make(ruler.encode, partial(collate.pack, family=of), partial(collate.dummy, of))
    found = list(steps(plan, recipe.data, make, rank=0, world=1, workers=0))
    assert [step.rejected for step in found] == [()] * plan.n_steps == [(), ()]
    planned = {row.sample_id: row for k in range(2) for row in plan.step(k)}
    long = {s.sample_id for s in own if len(s.frame_tick) == 12}
    assert any(row.n_frames < 8 for name, row in planned.items() if name in long)  # reduced to fit
    for example in (e for step in found for pack in step.packs for e in pack.examples):
        row = planned[example.sample_id]
        read = (
            len(example.token_id_S),
            int((example.label_S >= 0).sum()),
            len(example.tiles.tiles_NHWC) if example.tiles else 0,
            int(np.isin(example.token_id_S, [of.video_id, of.image_id]).sum()),
        )
        assert read == (row.n_tokens, row.n_labels, row.n_tiles, row.n_visual)
        assert row.n_tokens <= 190
