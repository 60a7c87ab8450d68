"""The planner's promises, over drawn lengths; and plan.parquet, which is written once."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ledger import PlanChanged
from pipeline.train.lengths import Measured
from pipeline.train.mix import open_sets
from pipeline.train.plan import Reserves, TooFewSamples, cost, make_plan, micro_steps
from pipeline.train.plan_file import plan_lines, read_plan, read_rejected, write_plan
from pipeline.train.planning import prepare, prepared
from pipeline.train.recipe import Batch, Data, Init, Source, TrainRecipe
from schemas.train import PlannedSample, RejectedSample
from tests.train.sets import Words, measured, sample, write_set

BATCH = Batch(samples=8, micro_tokens=64, micro_tiles=6)
Key = tuple[str, str, int]


@st.composite
def mixes(draw: st.DrawFn) -> list[Measured]:
    """Two sources, one of them read more than once; some samples share a clip, some are longer than a pack."""
    found = []
    for source, n_epochs in (("a", 1), ("b", draw(st.integers(1, 3)))):
        sizes = draw(st.lists(st.tuples(st.integers(1, 90), st.integers(0, 9)), max_size=25))
        found += [
            measured(f"s{k}", source=source, clip=f"c{k // 2}", epoch=epoch, tokens=tokens, tiles=tiles)
            for k, (tokens, tiles) in enumerate(sizes)
            for epoch in range(n_epochs)
        ]
    return found if len(found) >= BATCH.samples else [*found, *(measured(f"more{k}") for k in range(BATCH.samples))]


orders = st.sampled_from(["packed", "length", "random"])


def batch_of(order: str) -> Batch:
    return BATCH.model_copy(update={"order": order})


def key(row: PlannedSample) -> Key:
    return row.source, row.sample_id, row.epoch


def placed(plan: list[PlannedSample]) -> list[PlannedSample]:
    return [row for row in plan if row.step is not None]


def packs(plan: list[PlannedSample]) -> dict[tuple[Any, Any], list[PlannedSample]]:
    found: dict[tuple[Any, Any], list[PlannedSample]] = {}
    for row in placed(plan):
        found.setdefault((row.step, row.pack), []).append(row)
    return found


@given(mixes(), orders)
def test_every_sample_is_in_the_plan_once_an_epoch(mix: list[Measured], order: str) -> None:
    plan = make_plan(mix, batch_of(order), seed=1)
    asked = Counter((m.candidate.source, m.candidate.sample_id, m.candidate.epoch) for m in mix)
    assert Counter(map(key, plan)) == asked
    assert {(key(row), row.n_tokens, row.n_tiles) for row in plan} == {
        ((m.candidate.source, m.candidate.sample_id, m.candidate.epoch), m.length.n_tokens, m.length.n_tiles)
        for m in mix
    }


@given(mixes(), orders)
def test_steps_are_exact_and_what_is_left_is_reserve(mix: list[Measured], order: str) -> None:
    plan = make_plan(mix, batch_of(order), seed=1)
    sizes = Counter(row.step for row in placed(plan))
    assert sizes == dict.fromkeys(range(len(mix) // BATCH.samples), BATCH.samples)
    assert len(plan) - len(placed(plan)) == len(mix) % BATCH.samples
    where = [(row.step, row.pack, row.place) for row in placed(plan)]
    assert where == sorted(where)
    assert len(set(where)) == len(where)


@given(mixes())
def test_packs_stay_within_both_budgets_unless_they_are_single(mix: list[Measured]) -> None:
    for own in packs(make_plan(mix, BATCH, seed=1)).values():
        if len(own) > 1:
            assert sum(row.n_tokens for row in own) <= BATCH.micro_tokens
            assert sum(row.n_tiles for row in own) <= BATCH.micro_tiles


@given(mixes())
def test_no_two_packs_of_a_step_could_be_one(mix: list[Measured]) -> None:
    """Best fit opens a pack only where nothing open takes the sample: a last single sample fits into no other pack."""
    plan = packs(make_plan(mix, BATCH, seed=1))
    for (step, pack), own in plan.items():
        (last, *more) = own
        earlier = [rows for (s, p), rows in plan.items() if s == step and p < pack]
        if not more:
            for rows in earlier:
                before = [r for r in rows if r.n_tokens >= last.n_tokens]
                is_full = sum(r.n_tokens for r in before) + last.n_tokens > BATCH.micro_tokens
                assert is_full or sum(r.n_tiles for r in rows) + last.n_tiles > BATCH.micro_tiles


@given(mixes(), orders, st.randoms())
def test_the_order_in_which_samples_were_found_does_not_matter(mix: list[Measured], order: str, rng: Any) -> None:
    plan = make_plan(mix, batch_of(order), seed=1)
    rng.shuffle(mix)
    assert make_plan(mix, batch_of(order), seed=1) == plan


@given(mixes(), st.integers(1, 9))
def test_every_rank_has_as_many_micro_steps_and_each_pack_is_read_once(mix: list[Measured], world: int) -> None:
    plan = make_plan(mix, BATCH, seed=1)
    for step in range(len(mix) // BATCH.samples):
        rows = [row for row in plan if row.step == step]
        dealt = [micro_steps(rows, rank, world) for rank in range(world)]
        n_packs = len({row.pack for row in rows})
        assert {len(own) for own in dealt} == {-(-n_packs // world)}
        assert Counter(map(key, (row for own in dealt for pack in own for row in pack))) == Counter(map(key, rows))
        for own in (pack for rank in dealt for pack in rank if pack):
            assert len({row.pack for row in own}) == 1


@given(mixes())
def test_packs_that_share_a_micro_step_cost_alike(mix: list[Measured]) -> None:
    """No pack of a later micro-step is dearer than one of an earlier: then the sum of the longest is the least."""
    plan = make_plan(mix, BATCH, seed=1)
    dealt = [micro_steps([row for row in plan if row.step == 0], rank, 2) for rank in range(2)]
    costs = [[cost(rank[k]) for rank in dealt if rank[k]] for k in range(len(dealt[0]))]
    for now, then in pairwise(costs):
        assert min(now) >= max(then)


def test_the_dearest_pack_goes_to_the_rank_that_has_had_the_least() -> None:
    rows = make_plan([measured(f"s{k}", tokens=60 - k) for k in range(8)], BATCH, seed=1)
    tokens = [[pack[0].n_tokens for pack in micro_steps(rows, rank, 2)] for rank in range(2)]
    assert tokens == [[60, 57, 55, 54], [59, 58, 56, 53]] or sum(tokens[0]) - sum(tokens[1]) in (0, 2)
    assert abs(sum(tokens[0]) - sum(tokens[1])) <= 2


@given(mixes(), orders)
def test_a_reserve_fits_in_its_place_alone_and_is_of_another_clip(mix: list[Measured], order: str) -> None:
    """In a step it is dealt once, and a place goes without where all that fit it have another."""
    plan = make_plan(mix, batch_of(order), seed=1)
    tail = {f"{row.source}/{row.sample_id}": row for row in plan if row.step is None}
    for step in range(len(mix) // BATCH.samples):
        rows = [row for row in plan if row.step == step]
        dealt = Counter(row.reserve for row in rows if row.reserve)
        assert max(dealt.values(), default=1) == 1
        for row in rows:
            fitting = {
                name for name, own in tail.items()
                if own.n_tokens <= row.n_tokens and own.n_tiles <= row.n_tiles
                and (own.source, own.clip_id) != (row.source, row.clip_id)
            }  # fmt: skip
            assert row.reserve in fitting if row.reserve else fitting <= dealt.keys()


def test_reserves_are_drawn_not_taken_in_turn() -> None:
    """Seven for eight places: which place goes without, and which reserve the first one has, change with the step."""
    rows = placed(make_plan([measured(f"s{k}") for k in range(16 * 8 + 7)], BATCH, seed=1))
    without = [(row.pack, row.place) for row in rows if row.reserve is None]
    assert len(without) == 16
    assert len(set(without)) > 4
    assert len({row.reserve for row in rows if (row.pack, row.place) == (0, 0)}) > 4


def test_a_sample_of_two_epochs_is_one_reserve() -> None:
    """Both have the name that the plan calls reserves by."""
    mix = [measured("short", source="b", epoch=epoch, tokens=1) for epoch in range(2)]
    tail = [*mix, measured("long", tokens=9)]
    dealt = Reserves(tail).deal([measured(f"s{k}", tokens=5) for k in range(3)], "key")
    assert list(dealt.values()) == ["b/short"]


def test_the_seed_changes_the_order_and_nothing_else_does() -> None:
    mix = [measured(f"s{k}", tokens=5 + k % 20) for k in range(80)]
    one, again, two = (make_plan(mix, BATCH, seed) for seed in (1, 1, 2))
    assert one == again
    assert [row.sample_id for row in one] != [row.sample_id for row in two]
    assert {row.sample_id for row in one if row.step == 0} != {row.sample_id for row in two if row.step == 0}


def test_a_sample_comes_again_when_all_have_come_and_sources_are_mixed() -> None:
    mix = [measured(f"s{k}", source="b", epoch=epoch) for k in range(80) for epoch in range(3)]
    mix += [measured(f"s{k}", source="a") for k in range(240)]
    rows = placed(make_plan(mix, BATCH, seed=1))
    steps = {(row.sample_id, row.epoch): row.step or 0 for row in rows if row.source == "b"}
    for epoch in range(3):
        own = [step for (_, e), step in steps.items() if e == epoch]
        assert epoch * 20 - 3 <= min(own)
        assert max(own) <= (epoch + 1) * 20 + 3
    shares = [sum(row.source == "b" for row in rows if row.step in range(k, k + 15)) for k in (0, 15, 30, 45)]
    assert all(35 < share < 85 for share in shares)  # half of 120


def test_length_keeps_pictures_and_plain_text_apart() -> None:
    mix = [measured(f"s{k}", tiles=k % 3) for k in range(8 * 12)]
    rows = make_plan(mix, batch_of("length"), seed=1)
    kinds = [{bool(row.n_tiles) for row in rows if row.step == step} for step in range(12)]
    assert kinds.count({True}) == 8
    assert kinds.count({False}) == 4
    assert kinds[:4] != [{True}] * 4  # in drawn order
    assert all(len(own) == 1 for own in packs(rows).values())


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(TooFewSamples, match=r"7 samples fill no step of 8: lower batch\.samples"):
        make_plan([measured(f"s{k}") for k in range(7)], BATCH, seed=1)


def test_a_plan_comes_back_value_for_value(tmp_path: Path) -> None:
    rows = make_plan([measured(f"s{k}", tokens=5 + k) for k in range(27)], BATCH, seed=1)
    lost = RejectedSample(source="a", sample_id="x", step=None, reason="too_long", detail="why", reserve=None)
    write_plan(tmp_path, rows, [lost], ("seed = 1", "b = 2"))
    plan = read_plan(tmp_path, ("seed = 1", "b = 2"))
    assert (plan.n_steps, plan.n_reserves) == (3, 3)
    assert [row for step in range(3) for row in plan.step(step)] == placed(rows)
    assert [plan.reserve(f"a/{row.sample_id}") for row in rows[24:]] == rows[24:]
    assert read_rejected(tmp_path) == [lost]


def test_a_plan_of_other_things_is_refused_by_their_names(tmp_path: Path) -> None:
    rows = make_plan([measured(f"s{k}") for k in range(8)], BATCH, seed=1)
    write_plan(tmp_path, rows, [], ("seed = 1", "encoder = 1"))
    with pytest.raises(PlanChanged, match=r"encoder: 1 -> 2"):
        read_plan(tmp_path, ("seed = 1", "encoder = 2"))
    (tmp_path / "plan.parquet").write_bytes(b"torn")
    with pytest.raises(PlanChanged, match="is no plan of ours"):
        read_plan(tmp_path, ("seed = 1", "encoder = 1"))


def recipe(folder: Path, **changed: Any) -> TrainRecipe:
    data = Data(mix={"a": Source(path=str(folder))}, max_frames=4)
    return TrainRecipe(init=Init(checkpoint="embedded"), data=data, batch=BATCH, **changed)


def test_a_plan_is_made_once_and_bound_to_recipe_data_and_encoder(tmp_path: Path) -> None:
    own = [sample(f"s{k}", words=1 + k) for k in range(20)]
    asked = recipe(write_set(tmp_path / "set", own))
    first = prepare(tmp_path / "run", asked, Words(), ["encoder = 1"])
    bytes_before = (tmp_path / "run/plan.parquet").read_bytes()
    again = prepare(tmp_path / "run", asked.model_copy(update={"max_steps": 3}), Words(), ["encoder = 1"])
    assert (tmp_path / "run/plan.parquet").read_bytes() == bytes_before
    assert again.fingerprint == first.fingerprint
    assert prepared(tmp_path / "run", asked, ["encoder = 1"]).table.equals(first.table)
    for differs, new, encoder in (
        ("seed: 42 -> 7", asked.model_copy(update={"seed": 7}), "encoder = 1"),
        ("encoder: 1 -> 2", asked, "encoder = 2"),
        ("text.max_length: 32768 -> 99", asked.model_copy(update={"text": replace_text(asked)}), "encoder = 1"),
    ):
        with pytest.raises(PlanChanged, match=differs):
            prepare(tmp_path / "run", new, Words(), [encoder])
    write_set(tmp_path / "set", own[1:])
    with pytest.raises(PlanChanged, match=r"data\.mix\.a\.holds"):
        prepare(tmp_path / "run", asked, Words(), ["encoder = 1"])


def replace_text(asked: TrainRecipe) -> Any:
    return asked.text.model_copy(update={"max_length": 99})


def test_a_set_may_move(tmp_path: Path) -> None:
    own = [sample(f"s{k}") for k in range(8)]
    lines = [
        plan_lines(asked, open_sets(asked.data), ["encoder = 1"])
        for asked in (recipe(write_set(tmp_path / name, own)) for name in ("one", "two"))
    ]
    assert lines[0] == lines[1]
