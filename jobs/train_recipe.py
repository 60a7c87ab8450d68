"""A training recipe as YAML, by file or name, and where its sets lie."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from jobs.recipe import RECIPES, RecipeError
from jobs.seed_flags import BY_NAME
from pipeline.storage import is_there, place
from pipeline.train.recipe import TrainRecipe
from schemas.manifest import MANIFEST

TRAIN_RECIPES = RECIPES / "train"


def load_train_recipe(name: str) -> TrainRecipe:
    """A recipe by path, or by the name of one that comes with the project; raises RecipeError."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else TRAIN_RECIPES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in TRAIN_RECIPES.glob("*.yaml")))
        raise RecipeError(f"{path}: no such recipe; give a .yaml file or one of: {known}")
    try:
        return TrainRecipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except ValidationError as error:
        raise RecipeError(f"{path}: {'; '.join(map(_readable, error.errors()))}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: {error}") from error


def _readable(error: Mapping[str, Any]) -> str:
    """A flag of the seed's scripts is no unknown word: we say what became of it."""
    keys = [str(key) for key in error["loc"]]
    where = ".".join(keys) or "recipe"
    if error["type"] == "extra_forbidden" and (flag := BY_NAME.get(keys[-1])):
        return f"{where}: a flag of the seed's scripts; {flag.here}"
    return f"{where}: {error['msg']}"


def with_sets(recipe: TrainRecipe, given: Sequence[str], root: Path) -> TrainRecipe:
    """The recipe with absolute paths: of sets as `given` ("name=PATH"; PATH alone where the mix is one set), else
    under `root`. Raises RecipeError where a set is not there. A watched set that is one of the mix goes with it."""
    mix = recipe.data.mix
    chosen = dict(_named(text, list(mix)) for text in given)
    paths = {name: chosen.get(name, _under(root, source.path)) for name, source in mix.items()}
    for name, path in paths.items():
        _check_set(f"data.mix.{name}", path, f"--set {name}=PATH, or --data ROOT where {mix[name].path} lies")
    update: dict[str, Any] = {}
    sources = {name: source.model_copy(update={"path": paths[name]}) for name, source in mix.items()}
    update["data"] = recipe.data.model_copy(update={"mix": sources})
    if watch := recipe.watch:
        same = [paths[name] for name, source in mix.items() if source.path == watch.path]
        path = same[0] if same else _under(root, watch.path)
        _check_set("watch", path, f"--data ROOT where {watch.path} lies")
        update["watch"] = watch.model_copy(update={"path": path})
    if recipe.init.projector:
        projector = _under(root, recipe.init.projector)
        if not is_there(place(projector)):
            raise RecipeError(f"init.projector: no file {projector}; train stage1_align first, or give its path")
        update["init"] = recipe.init.model_copy(update={"projector": projector})
    return recipe.model_copy(update=update)


def _named(text: str, names: list[str]) -> tuple[str, str]:
    name, is_named, path = text.partition("=")
    if not is_named:
        if len(names) > 1:
            raise RecipeError(f"--set {text}: the recipe mixes {', '.join(names)}; give NAME=PATH")
        name, path = names[0], text
    if name not in names:
        raise RecipeError(f"--set {text}: the recipe mixes {', '.join(names)}, no {name}")
    return name, _under(Path(), path)


def _under(root: Path, path: str) -> str:
    """As it is where it is a URL or absolute, else absolute under the root."""
    return path if "://" in path else str((root / path).absolute())


def _check_set(where: str, path: str, remedy: str) -> None:
    if not is_there(place(path) / MANIFEST):
        raise RecipeError(f"{where}: no data set at {path} (it has no {MANIFEST}); give {remedy}")
