"""Density of supervision, exact on a clip that can be counted by hand."""

import pytest

from schemas.sample import Message, Sample
from stages.algorithms.density import Density, density, frame_edges


def sample(answer: str, frames: list[int], *, family: str = "where") -> Sample:
    return Sample(
        sample_id="s", group_id="g", family=family, direction="", answer_type="text",
        messages=(Message(role="user", content="Where is it at frame3?"), Message(role="assistant", content=answer)),
        program="{}", evidence=f'{{"frames":{frames},"tracks":[1]}}', reward="{}", risk=0.0,
    )  # fmt: skip


EDGES = frame_edges([5, 15, 25, 45], 0, 60, 0.1)


def test_a_frame_stands_for_the_time_around_it() -> None:
    assert pytest.approx([0, 1, 2, 3.5, 6]) == EDGES


def test_words_frames_and_gaps_are_counted() -> None:
    found = density([sample("On the left, at frame2:[1,20,300,4000].", [2]), sample("From 0.35 s to 2 s.", [2])], EDGES)
    # on the left at frame 2 1 20 300 4000; from 0.35 s to 2 s
    assert found == Density(tokens=10 + 6, clip_s=6.0, cited=1, planned=4, uncited_s=4.0)
    assert found.tokens_per_s == pytest.approx(16 / 6)
    assert found.cited_share == 0.25


@pytest.mark.parametrize(
    ("frames", "gap_s"), [([], 6.0), ([1, 2, 3, 4], 0.0), ([4], 3.5), ([1, 4], 2.5), ([1, 3], 2.5), ([3], 2.5)]
)
def test_the_longest_time_without_a_cited_frame(frames: list[int], gap_s: float) -> None:
    assert density([sample("Here.", frames)], EDGES).uncited_s == pytest.approx(gap_s)


@pytest.mark.parametrize("family", ["caption", "absent", "given"])
def test_what_is_said_of_the_whole_clip_cites_no_frame(family: str) -> None:
    found = density([sample("A circle moves.", [1, 2, 3, 4], family=family)], EDGES)
    assert (found.tokens, found.cited, found.uncited_s) == (3, 0, 6.0)
