"""Credit comes home in any order, exactly once."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.block import SHARE
from pipeline.collect import Collector, CreditError, finished
from pipeline.funnel import Funnel, StageCount
from pipeline.run_local import run_local
from tests.toys import FILMS, LOSSES, N_ROWS, Film, RatedBeat, plan

ROWS = [block.slice(i, 1) for block in run_local(plan()) for i in range(block.num_rows)]


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(len(ROWS))), st.integers(1, 7))
def test_any_order_of_blocks_finishes_each_source_once(order: list[int], size: int):
    collector = Collector(plan())
    done: dict[str, int] = {}
    for start in range(0, len(order), size):
        block = pa.concat_tables([ROWS[i] for i in order[start : start + size]])
        for video in collector.add(block):
            assert video.source_uri not in done
            done[video.source_uri] = video.rows.num_rows + len(video.outcomes)
    assert collector.unfinished() == []
    assert done == {"a.mp4": 9, "b.mp4": 1, "corrupt.mp4": 1, "d.mp4": 19, "e.mp4": 3}


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(len(ROWS))))
def test_a_source_is_never_finished_before_its_last_row(order: list[int]):
    collector = Collector(plan())
    left = [ROWS[i]["_source"][0].as_py() for i in order]
    for i in order:
        source = left.pop(0)
        assert [video.source_uri for video in collector.add(ROWS[i])] == ([] if source in left else [source])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=5), min_size=1, max_size=5), st.randoms())
def test_two_levels_of_fan_out_sum_to_one(tree: list[list[int]], random):
    """Shares as the worker makes them, for any tree of children and grandchildren."""
    shares = [len(tree) * len(scene) * n for scene in tree for n in scene for _ in range(n)]
    random.shuffle(shares)
    (block,) = run_local(plan([Film(uri="x.mp4", n_scenes=0)]))
    collector = Collector(plan([Film(uri="x.mp4", n_scenes=0)]))
    ends = [bool(list(collector.add(block.set_column(block.column_names.index(SHARE), SHARE, [[s]])))) for s in shares]
    assert ends == [False] * (len(shares) - 1) + [True]


def test_a_row_that_comes_twice_is_an_error():
    with pytest.raises(CreditError, match="rows came twice"):
        list(finished(plan(), [*ROWS, ROWS[0]]))


def test_a_row_that_never_comes_is_an_error_that_names_its_source():
    with pytest.raises(CreditError, match=r"missing of: d\.mp4"):
        list(finished(plan(), [row for i, row in enumerate(ROWS) if i != len(ROWS) - 5]))


def test_a_source_of_which_nothing_comes_is_unfinished():
    assert Collector(plan()).unfinished() == sorted(film.uri for film in FILMS)


def test_the_funnel_counts_every_row():
    collector = Collector(plan())
    videos = [video for row in ROWS for video in collector.add(row)]
    funnel = collector.funnel
    assert [(name, c.rows_in, c.rows_out) for name, c in funnel.stages.items()] == [
        ("CutScenes", 5, 3 + 7 + 1),
        ("CutBeats", 11, 20),
        ("RateBeats", 20, N_ROWS),
    ]
    lost = {(name, "skip", why): n for name, c in funnel.stages.items() for why, n in c.skipped.items()}
    lost |= {(name, "failure", why): n for name, c in funnel.stages.items() for why, n in c.failed.items()}
    assert lost == LOSSES
    assert all(count.seconds > 0 for count in funnel.stages.values())
    total = Funnel()
    for video in videos:
        total = total.merge(video.funnel)
        assert video.rows.schema.equals(RatedBeat.schema(), check_metadata=True)
    assert total.to_dict() == funnel.to_dict()


def test_a_funnel_survives_its_dict():
    funnel = Funnel({"A": StageCount(rows_in=2, rows_out=1, seconds=0.5, skipped={"x": 1}, counted={"tokens": 0})})
    assert Funnel.from_dict(funnel.to_dict()) == funnel
    twice = StageCount(rows_in=4, rows_out=2, seconds=1.0, skipped={"x": 2}, counted={"tokens": 0})
    assert funnel.merge(funnel).stages["A"] == twice
