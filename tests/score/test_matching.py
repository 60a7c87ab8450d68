"""The three sets have equal numbers in every stratum, whatever the pool; and they are the same in any order."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.algorithms.matching import Candidate, bin_name, choose, length_bin, quotas

values = st.floats(-5, 5) | st.sampled_from([0.0, 1.0])
pools = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["caption", "question"]), st.integers(1, 40), values), max_size=60
).map(lambda rows: [Candidate(f"k{i}", *row) for i, row in enumerate(rows)])
shares = st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 0.6, 1.0])


def strata(pool: list[Candidate], keys: tuple[str, ...]) -> Counter[tuple[str, str, int]]:
    by_key = {c.key: c for c in pool}
    return Counter(by_key[key].stratum for key in keys)


@settings(max_examples=200, deadline=None)
@given(pools, shares, st.integers(0, 3))
def test_the_sets_differ_in_nothing_but_the_score(pool: list[Candidate], share: float, seed: int) -> None:
    found = choose(pool, share, seed=seed)
    assert strata(pool, found.top) == strata(pool, found.random) == strata(pool, found.low)
    for keys in (found.top, found.random, found.low):
        assert len(set(keys)) == len(keys)
    if share <= 0.5:
        assert not set(found.top) & set(found.low)
    else:
        assert found.short == 0


@settings(max_examples=200, deadline=None)
@given(pools, shares)
def test_top_is_the_best_and_low_the_worst_of_each_stratum(pool: list[Candidate], share: float) -> None:
    found = choose(pool, share, seed=0)
    for stratum in {c.stratum for c in pool}:
        own = [c for c in pool if c.stratum == stratum]
        top, low = ([c.value for c in own if c.key in keys] for keys in (found.top, found.low))
        ranked = sorted((c.value for c in own), reverse=True)
        assert sorted(top, reverse=True) == ranked[: len(top)]
        assert sorted(low, reverse=True) == ranked[len(own) - len(low) :]


@settings(max_examples=100, deadline=None)
@given(pools, shares, st.randoms())
def test_the_order_of_the_input_says_nothing(pool: list[Candidate], share: float, random: object) -> None:
    turned = list(pool)
    random.shuffle(turned)  # type: ignore[attr-defined]
    assert choose(turned, share, seed=1) == choose(pool, share, seed=1)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 30), max_size=8), shares)
def test_quotas_keep_the_share_as_far_as_the_strata_hold_it(sizes: list[int], share: float) -> None:
    taken, asked = quotas(sizes, share), int(share * sum(sizes) + 1e-9)
    assert sum(taken) <= asked
    if share <= 0.5:
        assert all(n <= size // 2 for n, size in zip(taken, sizes, strict=True))
        assert sum(taken) == min(asked, sum(size // 2 for size in sizes))
    else:
        assert sum(taken) == asked
        assert all(abs(n - share * size) <= 1 for n, size in zip(taken, sizes, strict=True))


def test_what_strata_of_one_cannot_give_a_large_one_does() -> None:
    assert quotas([1] * 10 + [100], 0.3) == [0] * 10 + [33]
    assert quotas([1, 1, 1, 4], 0.5) == [0, 0, 0, 2]  # asked for three: no stratum gives more than half


def test_what_is_lost_to_odd_strata_is_told() -> None:
    pool = [Candidate(f"k{i}", "a", "question", 2**i, float(i)) for i in range(6)]  # six strata of one
    found = choose(pool, 0.5, seed=0)
    assert (found.asked, found.short, found.top) == (3, 3, ())


def test_seeds_change_the_random_control_alone() -> None:
    pool = [Candidate(f"k{i:02d}", "a", "question", 5, float(i)) for i in range(40)]
    one, two = choose(pool, 0.25, seed=1), choose(pool, 0.25, seed=2)
    assert one.top == two.top == tuple(f"k{i}" for i in range(30, 40))
    assert one.low == two.low == tuple(f"k{i:02d}" for i in range(10))
    assert one.random != two.random


def test_length_bins_are_powers_of_two() -> None:
    assert [length_bin(n) for n in (1, 2, 3, 4, 5, 8, 9, 16, 17)] == [0, 1, 2, 2, 3, 3, 4, 4, 5]
    assert [bin_name(k) for k in range(5)] == ["1", "2", "3-4", "5-8", "9-16"]
    with pytest.raises(ValueError, match="0 tokens is no length"):
        length_bin(0)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="a share of"):
        choose([], share, seed=0)
