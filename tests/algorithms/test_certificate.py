"""The certificate of texts whose needed frames are known."""

from collections.abc import Callable, Sequence

import pytest

from stages.algorithms.certificate import Certificate, Frames, certificate, most_reads
from tests.fake_scorer import TOLD, UNTOLD, Rule, ends, every, halves, middle, one, order, pair


def _find(rule: Rule, n: int, rank: Sequence[float] | None = None) -> tuple[Certificate, int]:
    """The certificate and how many sets were read for it."""
    asked: list[Frames] = []

    def read(sets: Sequence[Frames]) -> list[float]:
        asked.extend(sets)
        return [rule(frames, n) for frames in sets]

    single = [rule((t,), n) for t in range(n)]
    found = certificate(
        text=rule((), n), video=rule(range(n), n), single=single, rank=rank or [-v for v in single], read=read
    )
    assert len(asked) <= most_reads(n)
    return found, len(asked)


@pytest.mark.parametrize(
    ("rule", "frames"),
    [
        (one, (0,)), (pair, (2, 5)), (ends, (0, 7)), (middle, (0, 7)), (order, (0, 7)), (every, tuple(range(8))),
    ],
)  # fmt: skip
def test_known_needs_of_eight_frames(rule: Rule, frames: Frames) -> None:
    found, _ = _find(rule, 8)
    assert found == Certificate(frames, TOLD)


def test_any_frame_of_each_half_will_do() -> None:
    found, _ = _find(halves, 8)
    assert len(found.frames) == 2
    assert found.frames[0] < 4 <= found.frames[1]


def test_one_frame_that_tells_all_needs_no_read() -> None:
    assert _find(one, 32) == (Certificate((0,), TOLD), 0)


def test_a_pair_among_many_frames_is_found_where_it_is_missed_most() -> None:
    needed = (20, 43)

    def far(shown: Sequence[int], _: int) -> float:
        return TOLD if set(needed) <= set(shown) else UNTOLD

    seeing, _ = _find(far, 64, rank=[float(t in needed) for t in range(64)])
    assert seeing == Certificate(needed, TOLD)
    blind, _ = _find(far, 64)  # no single frame says anything of it: what segments miss is worth its reads
    assert blind.nll == UNTOLD


def test_a_text_that_needs_more_than_its_most_frames_says_how_far_they_reach() -> None:
    found, _ = _find(every, 32)
    assert len(found.frames) == 8
    assert found.nll == pytest.approx(UNTOLD - (UNTOLD - TOLD) / 4)


@pytest.mark.parametrize(("n_frames", "reads"), [(1, 1), (2, 2), (8, 41), (32, 71), (128, 71)])
def test_reads_are_bounded(n_frames: int, reads: int) -> None:
    assert most_reads(n_frames) == reads


def test_the_bound_is_tight_for_a_text_that_needs_every_frame() -> None:
    def first_more(shown: Sequence[int], n: int) -> float:
        return every(shown, n) - 0.01 * (0 in shown)

    _, asked = _find(first_more, 8, rank=[0.0, *[1.0] * 7])  # those that rank first never hold the best one
    assert asked == most_reads(8)


def _noisy(rule: Rule, n: int) -> Callable[[Sequence[int], int], float]:
    return lambda shown, _: rule(shown, n) + 0.05 * len(set(shown)) % 0.11


@pytest.mark.parametrize("rule", [ends, pair])
def test_a_little_noise_changes_nothing(rule: Rule) -> None:
    assert _find(_noisy(rule, 8), 8)[0].frames == _find(rule, 8)[0].frames
