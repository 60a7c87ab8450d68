"""Living and ended rows of a block, where it holds one kind only."""

import pytest

from pipeline.block import OUTCOME, SHARE, SOURCE, SPENT, build_block, carry_ended, split_block
from schemas.clip import Clip
from schemas.outcome import Outcome
from schemas.sample import ScoredClip  # whose struct `scorer` may not be null

GONE = Outcome(key="a", uri="a.mp4", stage="Cut", kind="skip", reason="too_short", detail="")


@pytest.mark.parametrize("ended", [0, 2])
def test_what_is_not_there_can_be_read_as_rows(ended: int):
    values = [{OUTCOME: GONE.to_dict(), SHARE: 1, SOURCE: "a.mp4", SPENT: []} for _ in range(ended)]
    before = build_block(Clip, values, owner="a test")
    alive, gone = split_block(carry_ended(before, ScoredClip))
    assert ScoredClip.from_arrow(alive) == []
    assert alive.select(ScoredClip.schema().names).cast(ScoredClip.schema()).num_rows == 0
    assert (alive.num_rows, gone.num_rows) == (0, ended)
