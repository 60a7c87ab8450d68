"""The folder of a training run: one recipe, one run at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from pipeline.build import NotOurs
from pipeline.ledger import LedgerBusy, PlanChanged, difference
from pipeline.storage import write, writing
from pipeline.train.recipe import TrainRecipe
from pipeline.train.same_run import kept_lines

RECIPE, LOCK = "recipe.yaml", "lock"


def check_run(out: Path, recipe: TrainRecipe, *, resume: bool) -> None:
    """Raises NotOurs or PlanChanged where this recipe may not train in this folder, and changes nothing."""
    file = out / RECIPE
    begun = file.is_file()
    if out.is_file():
        raise NotOurs(f"{out} is a file; choose another --out")
    others = sorted(p.name for p in out.iterdir() if p.name != LOCK) if out.is_dir() else []
    if others and not begun:
        raise NotOurs(f"{out} holds {', '.join(others[:3])} and is no training run; choose another --out or empty it")
    if resume and not begun:
        raise NotOurs(f"--resume: {out} holds no training run; leave the flag out to begin one")
    if not begun:
        return
    old = yaml.safe_load(file.read_text(encoding="utf-8"))
    before, after = kept_lines(old), kept_lines(recipe.model_dump(mode="json"))
    if before != after:
        changed = "\n".join(f"  {line}" for line in difference(before, after))
        raise PlanChanged(
            f"{out} was begun with another recipe. What differs, old -> new:\n{changed}\n"
            "Train with the old recipe, or choose another --out."
        )


@contextmanager
def held(out: Path, recipe: TrainRecipe) -> Iterator[None]:
    """The folder, with its recipe, for one run at a time; the lock dies with its process. Raises LedgerBusy."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        file = (out / LOCK).open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LedgerBusy(f"{out} is in use by another run: wait for it, end it, or choose another --out") from error
        with writing(out):
            write(out / RECIPE, yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False).encode())
        yield
