"""One local Ray for all tests of this folder: it costs seconds to start."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_up() -> Iterator[None]:
    from pipeline.run_ray import local_ray

    with local_ray(num_cpus=2):
        yield
