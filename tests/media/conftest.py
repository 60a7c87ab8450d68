"""A reader for the module, the zoo on disk, and the real films where they are."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.media.child import Limits
from stages.media.reader import Reader
from tests import zoo

VIDEOS = Path(__file__).parents[3] / "shared" / "videos"


@pytest.fixture(scope="session")
def reader() -> Iterator[Reader]:
    with Reader(Limits(timeout_s=60)) as reader:
        yield reader


@pytest.fixture(scope="session")
def cage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every video of the zoo."""
    folder = tmp_path_factory.mktemp("zoo")
    for name, (make, _) in zoo.ZOO.items():
        make(folder / name)
    return folder


@pytest.fixture(scope="session")
def bikes() -> str:
    path = VIDEOS / "bikes.mp4"
    if not path.exists():
        pytest.skip("shared/videos/bikes.mp4 is not beside the checkout")
    return str(path)
