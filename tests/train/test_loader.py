"""What ranks read: the plan, in its order, whatever reads it; and what cannot be read, by its name."""

import json
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from upath import UPath

from jobs.console import Console
from jobs.import_data import import_data
from pipeline.formats.read import read_pairs
from pipeline.ledger import PlanChanged
from pipeline.train.loader import Read, Reading, StepPacksOfRank, Turn, steps, turns
from pipeline.train.plan import micro_steps, reserve_name
from pipeline.train.plan_file import Plan
from pipeline.train.planning import prepare
from pipeline.train.recipe import Batch, Data, Init, Source, TrainRecipe
from schemas.sample import PublishedSample
from schemas.train import PlannedSample
from stages.media.world_film import random_film, write_world_film
from tests.s3 import BUCKET, s3_server
from tests.score.conftest import talk
from tests.train.sets import MAKE, Words, sample, write_set

Said = list[list[tuple[str, list[int]]]]  # by pack: sample and tokens


def mixed(n: int = 28) -> list[PublishedSample]:
    """Films, images and texts of several lengths; two samples a film."""
    kinds = (4, 4, 1, 0, 3)
    return [
        sample(f"s{k:02d}", video=f"v{k // 2 * 2 if kinds[k % 5] == 4 else k}", n_frames=kinds[k % 5], words=1 + k % 7)
        for k in range(n)
    ]


def recipe_of(folder: Path, frames: str = "packed") -> TrainRecipe:
    data = Data.model_validate({"mix": {"a": Source(path=str(folder))}, "max_frames": 3, "frames": frames})
    batch = Batch(samples=8, micro_tokens=40, micro_tiles=6)
    return TrainRecipe(init=Init(checkpoint="embedded"), data=data, batch=batch)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, TrainRecipe]:
    """A plan of three steps and four reserves, and its recipe."""
    folder = tmp_path_factory.mktemp("run")
    recipe = recipe_of(write_set(folder / "set", mixed()))
    return prepare(folder, recipe, Words(), []), recipe


def read(
    plan: Plan, recipe: TrainRecipe, *, rank: int = 0, world: int = 1, start: int = 0, workers: int = 0
) -> list[StepPacksOfRank]:
    return list(steps(plan, recipe.data, MAKE, rank=rank, world=world, start_step=start, workers=workers))


def said(step: StepPacksOfRank) -> Said:
    return [[(e.sample_id, e.token_id_S.tolist()) for e in pack.examples] for pack in step.packs]


def test_all_ranks_together_read_the_plan_and_each_as_many_packs(run: tuple[Plan, TrainRecipe]) -> None:
    plan, recipe = run
    ranks = [read(plan, recipe, rank=rank, world=3) for rank in range(3)]
    for k in range(plan.n_steps):
        assert len({len(own[k].packs) for own in ranks}) == 1
        found = Counter(e.sample_id for own in ranks for pack in own[k].packs for e in pack.examples)
        assert found == Counter(row.sample_id for row in plan.step(k))
        for pack in (pack for own in ranks for pack in own[k].packs if pack.examples):
            rows = [row for row in plan.step(k) if row.sample_id == pack.examples[0].sample_id]
            assert [e.sample_id for e in pack.examples] == [
                row.sample_id for row in plan.step(k) if row.pack == rows[0].pack
            ]
            assert len(pack.token_id_S) <= 40 or len(pack.examples) == 1
    assert [own[0].step for own in ranks] == [0, 0, 0]
    assert all(not step.rejected for own in ranks for step in own)


def test_a_sample_is_read_with_its_own_frames(run: tuple[Plan, TrainRecipe]) -> None:
    plan, recipe = run
    samples = {s.sample_id: s for s in mixed()}
    shown = {0: [], 1: [10], 3: [10, 30, 50], 4: [10, 50, 70]}  # grey levels of the planned frames that are shown
    for step in read(plan, recipe):
        for pack in said(step):
            for sample_id, token_id in pack:
                levels = shown[len(samples[sample_id].frame_tick)]
                n_said = len(samples[sample_id].messages[1].content.split())
                assert token_id == [*(i for level in levels for i in (level, 0, 0, 0)), 1, 1, 1, *[2] * n_said]


def test_order_and_content_do_not_depend_on_the_number_of_workers(run: tuple[Plan, TrainRecipe]) -> None:
    plan, recipe = run
    alone = [said(step) for step in read(plan, recipe)]
    for workers in (1, 2):
        assert [said(step) for step in read(plan, recipe, workers=workers)] == alone


@pytest.mark.parametrize("workers", [0, 2])
def test_a_restart_reads_exactly_the_rest(run: tuple[Plan, TrainRecipe], workers: int) -> None:
    plan, recipe = run
    whole = [(step.step, said(step)) for step in read(plan, recipe, rank=1, world=2)]
    for start in range(plan.n_steps + 1):
        rest = read(plan, recipe, rank=1, world=2, start=start, workers=workers)
        assert [(step.step, said(step)) for step in rest] == whole[start:]


def test_reading_leaves_torchs_generator_alone(run: tuple[Plan, TrainRecipe]) -> None:
    plan, recipe = run
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    read(plan, recipe, workers=1)
    assert torch.rand(1) == expected


def test_each_step_is_dealt_in_turns_of_one_pack(run: tuple[Plan, TrainRecipe]) -> None:
    """Rank 2 of 3: what `micro_steps` gives it; the last turn of each step is marked."""
    plan, _ = run
    found = list(turns(plan, rank=2, world=3, start_step=1))
    for step in (1, 2):
        own = [turn for turn in found if turn.step == step]
        assert own == [
            Turn(step, samples, k == len(own) - 1) for k, samples in enumerate(micro_steps(plan.step(step), 2, 3))
        ]
    assert {turn.step for turn in found} == {1, 2}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """packed/ and plain/: the same four films and three texts, imported with their frames and without."""
    folder = tmp_path_factory.mktemp("imported")
    records: list[dict[str, Any]] = [{"conversations": talk(f"{k} and {k}?", f"{k + k}.")} for k in range(3)]
    for k in range(4):
        write_world_film(folder / f"{k}.mp4", random_film(40 + k, shots=1), fps=Fraction(10), side_px=64)
        records.append({"video": f"{k}.mp4", "conversations": talk("<video>\nWhat?", "A circle.", "And?", "A square.")})
    (folder / "set.json").write_text(json.dumps(records))
    given = read_pairs(str(folder / "set.json"), format="llava", text_only=True)
    for name in ("packed", "plain"):
        import_data(
            given, folder / name, frames=4, runner="local", resume=False, console=Console(quiet=True),
            pack_frames=name == "packed",
        )  # fmt: skip
    return folder


def of_imported(folder: Path, frames: str) -> tuple[Plan, TrainRecipe]:
    recipe = recipe_of(folder / ("packed" if frames == "packed" else "plain"), frames)
    recipe = recipe.model_copy(update={"batch": Batch(samples=3, micro_tokens=40, micro_tiles=6)})
    return prepare(folder / f"run-{frames}", recipe, Words(), []), recipe


def test_an_imported_set_is_read_packed_or_from_its_films(imported: Path) -> None:
    found = {frames: read(*of_imported(imported, frames)) for frames in ("packed", "films")}
    for packed, films in zip(*found.values(), strict=True):
        assert packed.rejected == films.rejected == ()
        for one, two in zip(packed.packs, films.packs, strict=True):
            assert [e.sample_id for e in one.examples] == [e.sample_id for e in two.examples]
            assert int((one.token_id_S - two.token_id_S).abs().max()) <= 2  # grey levels, after JPEG


def test_decoders_opened_before_a_fork_are_not_shared(imported: Path) -> None:
    """Two workers that wrote to their parent's decoder at once would get each other's frames, or none."""
    plan, recipe = of_imported(imported, "films")
    reading = Reading(plan, recipe.data, MAKE.example)
    todo = list(turns(plan, rank=0, world=1))
    expected = [tokens(reading[turn]) for turn in todo]
    loader = torch.utils.data.DataLoader(
        reading, batch_size=None, sampler=todo, num_workers=2, collate_fn=with_decoders
    )  # fmt: skip
    found = list(loader)
    assert [read for read, _ in found] == expected
    assert {n for _, n in found} == {1}
    reading.close()


def tokens(read: Read) -> list[list[int]]:
    return [e.token_id_S.tolist() for e in read.examples]


def with_decoders(read: Any) -> tuple[list[list[int]], int]:
    """What was read, and how many decoders this process has started."""
    return tokens(read), len(psutil.Process().children())


def test_sets_in_a_store_are_read_alike_by_any_number_of_workers(run: tuple[Plan, TrainRecipe], tmp_path: Path) -> None:
    plan, recipe = run
    expected = [said(step) for step in read(plan, recipe)]
    with s3_server():
        store = UPath(f"s3://{BUCKET}")
        store.fs.put(recipe.data.mix["a"].path, f"{BUCKET}/set", recursive=True)
        afar = recipe.model_copy(update={"data": Data(mix={"a": Source(path=f"s3://{BUCKET}/set")}, max_frames=3)})
        assert prepare(tmp_path, afar, Words(), []).table.equals(plan.table)
        for workers in (0, 2):
            assert [said(step) for step in read(plan, afar, workers=workers)] == expected
        store.fs.rm(f"{BUCKET}/set/clips", recursive=True)
        (first, *_) = read(plan, afar)
        assert {r.sample_id for r in first.rejected} == {row.sample_id for row in plan.step(0) if row.n_frames}


def spoiled(folder: Path, plan: Plan, recipe: TrainRecipe, names: list[str]) -> Plan:
    """The same set under the same plan, but the second frame of these samples' clips is no picture any more."""
    own = mixed()
    bad = {s.clip_id: len(s.frame_tick) for s in own if s.sample_id in names}
    good = {s.clip_id for s in own} - bad.keys()
    assert good
    write_set(folder / "set", own, frames_jpeg={clip_id: (b"damaged",) * n for clip_id, n in bad.items()})
    return plan


def victims(plan: Plan, step: int) -> list[PlannedSample]:
    return [row for row in plan.step(step) if row.n_frames and row.reserve]


def test_a_damaged_jpeg_is_named_and_its_reserve_takes_its_place(tmp_path: Path) -> None:
    recipe = recipe_of(write_set(tmp_path / "set", mixed()))
    plan = prepare(tmp_path, recipe, Words(), [])
    before = [said(step) for step in read(plan, recipe)]
    victim = victims(plan, 1)[0]
    clip = next(s.clip_id for s in mixed() if s.sample_id == victim.sample_id)
    spoiled(tmp_path, plan, recipe, [victim.sample_id])
    for workers in (0, 2):
        after = read(plan, recipe, workers=workers)
        lost = {r.sample_id: r for step in after for r in step.rejected}
        expected = {row.sample_id for k in range(3) for row in plan.step(k) if row.clip_id == clip}
        assert lost.keys() == expected
        rejected = lost[victim.sample_id]
        assert (rejected.source, rejected.step, rejected.reason) == ("a", 1, "unreadable")
        assert rejected.reserve == victim.reserve
        assert f"a/{victim.sample_id}: frame 0 of {clip}: cannot identify image" in rejected.detail
        for k, step in enumerate(after):
            for was, now in zip(before[k], said(step), strict=True):
                for old, new in zip(was, now, strict=True):
                    row = next(row for row in plan.step(k) if row.sample_id == old[0])
                    taken = (row.reserve or "").removeprefix("a/")
                    assert new == old if old[0] not in lost else new[0] == taken
                    if old[0] in lost:
                        assert len(new[1]) == plan.reserve(reserve_name("a", taken)).n_tokens <= len(old[1])


def test_with_no_reserve_or_a_damaged_one_the_place_stays_empty(tmp_path: Path) -> None:
    recipe = recipe_of(write_set(tmp_path / "set", mixed()))
    plan = prepare(tmp_path, recipe, Words(), [])
    names = [s.sample_id for s in mixed() if s.frame_tick]  # all that has pictures is spoiled
    spoiled(tmp_path, plan, recipe, names)
    found = read(plan, recipe, world=1)
    for k, step in enumerate(found):
        rows = {row.sample_id: row for row in plan.step(k)}
        assert {r.sample_id for r in step.rejected} == {name for name, row in rows.items() if row.n_frames}
        kept = sum(len(pack.examples) for pack in step.packs)
        replaced = [r for r in step.rejected if r.reserve]
        assert kept == sum(not row.n_frames for row in rows.values()) + len(replaced)
        for r in step.rejected:
            own = rows[r.sample_id].reserve
            readable = own is not None and plan.reserve(own).n_frames == 0
            assert r.reserve == (own if readable else None)
            assert readable or own is None or f"; {own}: " in r.detail
        assert len(step.packs) == len({row.pack for row in rows.values()})


def test_a_pack_of_which_nothing_can_be_read_is_a_dummy(tmp_path: Path) -> None:
    own = [sample(f"s{k}") for k in range(18)]
    recipe = recipe_of(write_set(tmp_path / "set", own))
    plan = prepare(tmp_path, recipe, Words(), [])
    write_set(tmp_path / "set", own, frames_jpeg={s.clip_id: (b"damaged",) * 4 for s in own})
    for step in read(plan, recipe):
        assert len(step.rejected) == 8
        assert [(pack.examples, pack.n_labels) for pack in step.packs] == [((), 0)] * 4


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "clips/part-00000.parquet").unlink(), "part-00000.parquet"),
        (lambda folder: (folder / "data/part-00000.parquet").write_bytes(b"torn"), "data/part-00000.parquet, row"),
    ],
)
def test_files_that_are_gone_or_torn_reject_their_samples_by_name(tmp_path: Path, spoil: object, says: str) -> None:
    recipe = recipe_of(write_set(tmp_path / "set", mixed()))
    plan = prepare(tmp_path, recipe, Words(), [])
    spoil(tmp_path / "set")  # type: ignore[operator]
    for k, step in enumerate(read(plan, recipe)):
        seen = {row.sample_id for row in plan.step(k) if row.n_frames}
        assert seen <= {r.sample_id for r in step.rejected}
        assert all(says in r.detail for r in step.rejected)


def test_films_that_are_missing_are_rejected_while_texts_are_read(tmp_path: Path) -> None:
    """The plan is of packed frames; then the set is read from films that are nowhere."""
    recipe = recipe_of(write_set(tmp_path / "set", mixed()))
    plan = prepare(tmp_path, recipe, Words(), [])
    (step, *_) = read(plan, recipe_of(tmp_path / "set", "films"))
    assert {r.sample_id for r in step.rejected} == {row.sample_id for row in plan.step(0) if row.n_frames}
    assert all("/set/films/v" in r.detail for r in step.rejected)


def test_another_sample_in_the_place_is_an_error_not_a_loss(tmp_path: Path) -> None:
    recipe = recipe_of(write_set(tmp_path / "set", mixed()))
    plan = prepare(tmp_path, recipe, Words(), [])
    write_set(tmp_path / "set", [replace(s, sample_id=f"other-{s.sample_id}") for s in mixed()])
    with pytest.raises(PlanChanged, match=r"holds other-s.*, the plan says s"):
        read(plan, recipe)


def test_another_length_than_planned_is_an_error(run: tuple[Plan, TrainRecipe]) -> None:
    plan, recipe = run
    longer = replace(MAKE, example=lambda c: Words().encode(replace(c, turns=(*c.turns, ("more", "words")))))
    with pytest.raises(PlanChanged, match="tokens, the plan says"):
        list(steps(plan, recipe.data, longer, rank=0, world=1, workers=0))
