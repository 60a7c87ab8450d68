"""When what cannot be read ends a run."""

import json
from pathlib import Path

import polars as pl
import torch

from tests.train.lost_world import rank


def test_a_step_that_is_mostly_unreadable_ends_the_run_on_all_ranks(tmp_path: Path):
    """Losses are counted over ranks: one that has lost all of its own goes on where half of the step is there."""
    told = [((2, 1, 1), (2, 0, 2)), ((0, 0, 4), (4, 0, 0)), ((0, 1, 3), (2, 0, 0)), ((1, 3, 0), (1, 0, 3))]
    torch.multiprocessing.spawn(rank, args=(2, tmp_path / "store", told), nprocs=2)  # type: ignore[attr-defined]
    first, second = (json.loads((tmp_path / f"rank{k}.json").read_text()) for k in range(2))
    assert first == second
    assert [name for name, _ in first] == ["NothingToLearn"] * 2 + ["MostlyUnreadable"] * 2
    assert first[2][1].startswith(
        "step 2: 4 of its 6 samples could not be read, among them a/0-lost0: gone; all are in"
    )
    assert first[3][1].startswith("step 3: 6 of its 8 samples could not be read")
    assert "the same command goes on from the newest checkpoint" in first[2][1]
    rows = pl.read_parquet(tmp_path / "run" / "unreadable" / "*.parquet")
    assert rows.group_by("step").len().sort("step").rows() == [(2, 4), (3, 6)]
