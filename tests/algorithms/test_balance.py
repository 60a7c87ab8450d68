"""The fewest drops: against brute force, in any order, pairs together, until nobody can guess."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations

import pytest

from stages.algorithms.balance import Bound, Group, balance, solve
from stages.algorithms.closed import Closed
from stages.algorithms.shortcuts import WITHIN, measure


def question(ask: str, key: str, answer: str, options: tuple[str, ...], text: str = "?") -> Closed:
    return Closed(ask, key, key, f"v{key}", text, answer, options)


def tiny(rng: random.Random, n: int) -> list[Group]:
    """Groups of one to three samples, of two kinds of questions, or none."""
    groups = []
    for k in range(n):
        questions = []
        if rng.random() < 0.8:
            questions.append(question("place", f"p{k}", rng.choice("aaabc"), ("a", "b", "c"), rng.choice(("x", "y"))))
        if rng.random() < 0.6:
            questions.append(question("span", f"t{k}", rng.choice("ddde"), ("d", "e")))
        groups.append(Group(f"g{k}", max(1, len(questions)) + rng.randrange(2), tuple(questions)))
    return groups


def is_even(groups: Sequence[Group], bounds: dict[str, Bound]) -> bool:
    """By counting, stratum by stratum."""
    counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for q in (q for g in groups for q in g.questions if q.ask in bounds):
        for cue in ("", *(set(q.question.split()) & set(bounds[q.ask].cues))):
            counts[q.ask, cue][q.answer] += 1
    share = {"place": 1 / 3, "span": 1 / 2}
    return all(
        max(c.values()) <= (share[ask] + bounds[ask].margin) * c.total() + 1e-9 for (ask, _), c in counts.items()
    )


@pytest.mark.parametrize("seed", range(30))
def test_no_plan_under_the_same_bounds_keeps_more(seed: int) -> None:
    rng = random.Random(seed)
    groups = tiny(rng, 10)
    margin = rng.choice((0.03, 0.1, 0.2))
    bounds = {"place": Bound(1 / 3, margin, ["x"] if seed % 2 else []), "span": Bound(1 / 2, margin)}
    if seed % 5 == 0:
        del bounds["span"]
    kept = solve(groups, bounds)
    subsets = (s for n in range(len(groups) + 1) for s in combinations(groups, n))
    most = max(sum(g.samples for g in s) for s in subsets if is_even(s, bounds))
    assert is_even(kept, bounds)
    assert sum(g.samples for g in kept) == most
    assert [g for g in groups if g in kept] == kept


def skewed(n: int = 1500, *, seed: int = 0, told: bool = False) -> list[Group]:
    """Places of which one is too frequent, paired with spans; `told`: its question has words, one often the place."""
    rng, groups = random.Random(seed), []
    for k in range(n):
        at = rng.choice("aaabbccdd")
        word = at if rng.random() < 2 / 3 else rng.choice("abcd")
        text = f"Where is the {word} {rng.choice(('red', 'blue'))} thing at frame{rng.randrange(8)}?"
        pair = (
            question("place", f"p{k}", at, tuple("abcd"), text if told else "Where?"),
            question("span", f"t{k}", rng.choice("xy"), ("x", "y")),
        )
        groups.append(Group(f"g{k}", 2, pair))
    return groups


def test_the_frequent_answer_is_brought_under_the_bound_and_no_further() -> None:
    groups = skewed()
    plan = balance(groups, ["place"])
    before, after = (
        measure([q for g in some for q in g.questions if q.ask == "place"])[0]
        for some in (groups, [g for g in groups if g.group_id not in plan.dropped])
    )
    assert before.excess > 0.05
    assert after.is_even
    n_frequent = sum(g.questions[0].answer == "a" for g in groups)
    rest = len(groups) - n_frequent
    share = 1 / 4 + WITHIN
    fewest = n_frequent - int(rest * share / (1 - share))
    assert plan.rounds == 1
    assert fewest <= len(plan.dropped) <= fewest + 2  # .1 % of the samples
    assert {g.questions[0].answer for g in groups if g.group_id in plan.dropped} == {"a"}
    assert plan.left == ()


def test_words_that_tell_the_answer_are_evened_too() -> None:
    groups = skewed(3000, told=True)
    plan = balance(groups, ["place"])
    kept = [g for g in groups if g.group_id not in plan.dropped]
    before, after = (measure([q for g in some for q in g.questions if q.ask == "place"])[0] for some in (groups, kept))
    assert before.blind[1].accuracy > 0.6
    assert plan.left == ()
    assert plan.rounds > 1
    assert after.is_even
    assert after.samples > 500


def test_the_order_of_the_groups_does_not_matter() -> None:
    groups = skewed(1200, told=True)
    plan = balance(groups, ["place", "span"])
    assert plan.dropped
    assert balance(random.Random(1).sample(groups, len(groups)), ["span", "place"]) == plan


def test_negatives_that_their_wording_gives_away_all_go_and_the_others_stay() -> None:
    present = [
        Group(f"g{k}", 2, (question("presence", f"y{k}", "yes", ("no", "yes"), "What is the track of it?"),))
        for k in range(800)
    ]
    absent = [
        Group(f"a{k}", 1, (question("presence", f"n{k}", "no", ("no", "yes"), "What is the track of the moving it?"),))
        for k in range(500)
    ]
    plan = balance([*present, *absent], ["presence"])
    assert plan.given_up == ("presence",)
    assert plan.dropped == {g.group_id for g in absent}


def test_negatives_asked_in_the_same_words_stay_in_even_numbers() -> None:
    groups = [
        Group(f"g{k}", 1, (question("presence", f"y{k}", "no" if k < 500 else "yes", ("no", "yes")),))
        for k in range(1500)
    ]
    plan = balance(groups, ["presence"])
    kept = Counter(g.questions[0].answer for g in groups if g.group_id not in plan.dropped)
    assert plan.given_up == ()
    assert kept["no"] == 500
    assert 0.52 < kept["yes"] / kept.total() <= 0.53


def test_a_question_with_few_samples_is_left_alone_and_so_is_one_that_nobody_names() -> None:
    groups = skewed(900)
    assert balance(groups, ["place"]).dropped == frozenset()
    assert balance(groups, ["place"]).asks == ()
    assert balance(groups, ["place"], min_samples=900).dropped
    assert balance(skewed(), []).dropped == frozenset()
    assert balance([], ["place"]).dropped == frozenset()
