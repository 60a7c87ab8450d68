"""Recipes of the trainer: the seed's numbers, its flags by name, where sets lie, and whose a run's folder is."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from jobs.recipe import RecipeError
from jobs.seed_flags import BY_NAME, DEFAULTS, SEED_FLAGS
from jobs.train_folder import RECIPE, check_run, held
from jobs.train_recipe import TRAIN_RECIPES, load_train_recipe, with_sets
from pipeline.build import NotOurs
from pipeline.ledger import LedgerBusy, PlanChanged
from pipeline.train.recipe import TrainRecipe
from schemas.manifest import MANIFEST

DOCS = Path(__file__).parents[2] / "docs" / "training.md"
NAMES = ("stage1_align", "stage2_utr", "tiny_cpu")
FLAGS_OF_STAGE_2 = (  # scripts/sft.sh of the seed, after its torchrun's
    "deepspeed model_name_or_path version data_path image_folder video_folder pretrain_mm_mlp_adapter mm_tunable_parts "
    "mm_vision_tower_lr vision_tower mm_projector_type mm_vision_select_layer mm_use_im_start_end "
    "mm_use_im_patch_token group_by_modality_length image_aspect_ratio image_grid_pinpoints mm_patch_merge_type bf16 "
    "run_name output_dir num_train_epochs per_device_train_batch_size per_device_eval_batch_size "
    "gradient_accumulation_steps evaluation_strategy save_strategy save_steps save_total_limit learning_rate "
    "weight_decay warmup_ratio lr_scheduler_type logging_steps tf32 model_max_length gradient_checkpointing "
    "dataloader_num_workers lazy_preprocess report_to torch_compile torch_compile_backend dataloader_drop_last "
    "frames_upbound"
)


def test_the_recipes_are_those_of_the_seed() -> None:
    one, two = load_train_recipe("stage1_align"), load_train_recipe("stage2_utr")
    assert (one.train.vision, one.train.projector, one.train.language) == (False, True, False)
    assert (one.optim.lr, one.batch.samples, one.text.max_length, one.text.template) == (1e-3, 1024, 8192, "plain")
    assert (two.train.vision, two.train.projector, two.train.language) == (True, True, True)
    assert (two.optim.lr, two.optim.vision_lr, two.optim.projector_lr) == (1e-5, 2e-6, None)
    assert (two.batch.samples, two.text.max_length, two.data.max_frames, two.data.image_tiles) == (512, 32768, 32, 9)
    assert (two.checkpoint.every_steps, two.activation_checkpointing.vision) == (100, True)
    assert list(two.data.mix) == ["image", "utr", "videochat2"]
    for recipe in (one, two):
        assert (recipe.optim.schedule, recipe.optim.warmup_ratio, recipe.optim.weight_decay) == ("cosine", 0.03, 0)
        assert (recipe.optim.betas, recipe.optim.eps, recipe.optim.max_grad_norm) == ((0.9, 0.999), 1e-8, 1.0)
        assert (recipe.deepspeed.zero, recipe.precision, recipe.seed) == (3, "bfloat16", 42)
        assert recipe.activation_checkpointing.language
        assert {source.sampling for source in recipe.data.mix.values()} == {"all"}


def test_every_flag_of_the_seed_is_mapped_or_rejected_by_name() -> None:
    assert set(FLAGS_OF_STAGE_2.split()) <= BY_NAME.keys()
    assert len(BY_NAME) == len(SEED_FLAGS) + len(DEFAULTS)
    values = TrainRecipe.model_validate(yaml.safe_load((TRAIN_RECIPES / "stage2_utr.yaml").read_text()))
    for flag in BY_NAME.values():
        assert flag.fields or flag.note, f"{flag.name} is neither mapped nor is it said why not"
        for field in flag.fields:
            assert _holds(values, field.split(".")), f"{flag.name}: the recipe has no {field}"


def test_the_check_of_fields_can_fail() -> None:
    recipe = load_train_recipe("stage2_utr")
    assert _holds(recipe, ["data", "mix", "*", "epochs"])
    assert not _holds(recipe, ["data", "mix", "*", "epoch"])
    assert not _holds(recipe, ["optim", "rate"])


def _holds(value: Any, keys: list[str]) -> bool:
    if not keys:
        return True
    if keys[0] == "*":
        return all(_holds(inner, keys[1:]) for inner in value.values())
    if isinstance(value, BaseModel):
        return keys[0] in type(value).model_fields and _holds(getattr(value, keys[0]), keys[1:])
    return False


def test_the_docs_hold_the_table() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for flag in BY_NAME.values():
        assert flag.row in text, f"docs/training.md lacks the line of {flag.name}: {flag.row}"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("learning_rate: 1.0e-5\n", "learning_rate: a flag of the seed's scripts; here optim.lr, optim.projector_lr"),
        ("mm_vision_select_layer: -2\n", "a flag of the seed's scripts; not taken: the seed's tower drops its last"),
        ("optim: {mm_vision_tower_lr: 1.0}\n", "optim.mm_vision_tower_lr: a flag of the seed's scripts"),
        ("optimm: {}\n", "optimm: Extra inputs are not permitted"),
        ("batch: {samples: 0}\n", "batch.samples: Input should be greater than 0"),
        ("checkpoint: {keep: 1}\n", "checkpoint.keep: Input should be greater than or equal to 2"),
        ("init: {language: a}\n", "init: Value error, init: give checkpoint, or language and vision"),
        ("data: {mix: {a: {path: x, sampling: most}}}\n", "all, first:N, end:N or random:N"),
        ("a: [\n", "expected"),
    ],
)
def test_a_wrong_recipe_is_refused_by_key(tmp_path: Path, line: str, says: str) -> None:
    key = line.split(":")[0]
    lines = {"init": "init: {checkpoint: embedded}\n", "data": "data: {mix: {a: {path: x}}}\n"}
    path = tmp_path / "mine.yaml"
    path.write_text("".join(text for name, text in lines.items() if name != key) + line)
    with pytest.raises(RecipeError) as refused:
        load_train_recipe(str(path))
    assert str(path) in str(refused.value)
    assert says in str(refused.value)


def test_an_unknown_recipe_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(RecipeError, match=f"no such recipe; give a .yaml file or one of: {', '.join(NAMES)}"):
        load_train_recipe("stage3")


def _set(folder: Path) -> str:
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text("{}")
    return str(folder)


def test_sets_lie_under_the_root_or_where_the_command_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    image, elsewhere = _set(tmp_path / "sets/llava_next_sft_790k"), _set(tmp_path / "elsewhere")
    chat = _set(tmp_path / "sets/videochat2")
    projector = tmp_path / "sets/stage1_align/export/projector.safetensors"
    projector.parent.mkdir(parents=True)
    projector.write_text("")
    found = with_sets(load_train_recipe("stage2_utr"), ["utr=elsewhere"], Path("sets"))
    assert {name: source.path for name, source in found.data.mix.items()} == {
        "image": image, "utr": elsewhere, "videochat2": chat
    }  # fmt: skip
    assert found.watch is not None
    assert found.watch.path == elsewhere, "a watched set that is one of the mix goes with it"
    assert found.init.projector == str(projector)


def test_a_mix_of_one_set_needs_no_name(tmp_path: Path) -> None:
    demo = _set(tmp_path / "demo")
    recipe = load_train_recipe("tiny_cpu")
    found = with_sets(recipe, [demo], Path())
    assert found == with_sets(recipe, [f"demo={demo}"], Path())
    assert found.watch is not None
    assert (found.data.mix["demo"].path, found.watch.path) == (demo, demo)


@pytest.mark.parametrize(
    ("recipe", "given", "says"),
    [
        (
            "tiny_cpu",
            [],
            "data.mix.demo: no data set at {root}/demo-out (it has no manifest.json); give --set demo=PATH",
        ),
        ("tiny_cpu", ["demmo=x"], "--set demmo=x: the recipe mixes demo, no demmo"),
        ("stage2_utr", ["x"], "--set x: the recipe mixes image, utr, videochat2; give NAME=PATH"),
    ],
)
def test_a_set_that_is_not_there_is_refused_by_name(tmp_path: Path, recipe: str, given: list[str], says: str) -> None:
    with pytest.raises(RecipeError) as refused:
        with_sets(load_train_recipe(recipe), given, tmp_path)
    assert says.format(root=tmp_path) in str(refused.value)


def test_a_projector_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for name in ("llava_next_sft_790k", "utr", "videochat2"):
        _set(tmp_path / name)
    with pytest.raises(RecipeError, match=r"no file .*projector\.safetensors; train stage1_align first"):
        with_sets(load_train_recipe("stage2_utr"), [], tmp_path)


def test_another_recipe_is_refused_with_what_differs(tmp_path: Path) -> None:
    recipe, run = load_train_recipe("tiny_cpu"), tmp_path / "run"
    with held(run, recipe):
        pass
    other = recipe.model_copy(update={"optim": recipe.optim.model_copy(update={"lr": 2e-3}), "seed": 1})
    with pytest.raises(PlanChanged) as refused:
        check_run(run, other, resume=False)
    assert "seed: 42 -> 1\n  optim.lr: 0.001 -> 0.002\n" in str(refused.value)
    assert yaml.safe_load((run / RECIPE).read_text())["seed"] == 42


def test_a_run_may_go_further_save_otherwise_and_find_its_sets_elsewhere(tmp_path: Path) -> None:
    recipe, run = load_train_recipe("tiny_cpu"), tmp_path / "run"
    with held(run, recipe):
        pass
    data = recipe.data.model_copy(update={"mix": {"demo": recipe.data.mix["demo"].model_copy(update={"path": "/x"})}})
    saving = recipe.checkpoint.model_copy(update={"every_steps": 7})
    check_run(run, recipe.model_copy(update={"max_steps": 3, "data": data, "checkpoint": saving}), resume=True)


def test_nobody_elses_folder_is_taken(tmp_path: Path) -> None:
    recipe = load_train_recipe("tiny_cpu")
    (tmp_path / "holiday.jpg").write_text("mine")
    with pytest.raises(NotOurs, match=r"holds holiday\.jpg and is no training run"):
        check_run(tmp_path, recipe, resume=False)
    with pytest.raises(NotOurs, match="holds no training run; leave the flag out"):
        check_run(tmp_path / "new", recipe, resume=True)
    assert not (tmp_path / "new").exists()


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    recipe = load_train_recipe("tiny_cpu")
    with held(tmp_path, recipe), pytest.raises(LedgerBusy, match="in use by another run"), held(tmp_path, recipe):
        pass
    with held(tmp_path, recipe):
        assert json.loads(json.dumps(yaml.safe_load((tmp_path / RECIPE).read_text()))) == recipe.model_dump(mode="json")
