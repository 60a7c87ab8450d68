"""Started with few file descriptors: reads a plan of many packs a step by two workers.

python tests/train/few_files.py FOLDER
"""

import resource
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.train.loader import steps
from pipeline.train.plan_file import Plan
from pipeline.train.planning import prepare
from pipeline.train.recipe import Batch, Data, Init, Source, TrainRecipe
from tests.train.sets import MAKE, Words

PACKS, FILES = 300, 256  # a tensor of each pack would be more than there may be files


def planned(folder: Path, packs: int) -> tuple[Plan, Data]:
    """The set of a folder, twice, in steps of so many packs of one sample."""
    data = Data(mix={"a": Source(path=str(folder / "set"), epochs=2)})
    recipe = TrainRecipe(init=Init(checkpoint="embedded"), data=data, batch=Batch(samples=packs, order="random"))
    return prepare(folder, recipe, Words(), []), data


def main(folder: Path) -> None:
    plan, data = planned(folder, PACKS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    found = [len(step.packs) for step in steps(plan, data, MAKE, rank=0, world=1, workers=2)]
    assert found == [PACKS, PACKS], found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
