"""`utr verify` against a sealed set in which one thing was changed and all hashes made right again."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.sealed import Sealed
from pipeline.verify import verify
from stages.algorithms.ask_twin import ASKED
from stages.algorithms.questions import FAMILIES
from tests.publish.mutations import KINDS, UNKNOWABLE, found, mutant, survivors, write_sealed
from tests.publish.world_set import N_VIDEOS, seal_worlds

SOAK_DRAWS = 20  # of each kind
LEAST_CAUGHT = 0.99


class Set(NamedTuple):
    folder: Path
    data: Sealed


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Set:
    out = tmp_path_factory.mktemp("worlds") / "out"
    return Set(out, seal_worlds(out, N_VIDEOS))


def test_every_family_and_twin_is_proved(sealed: Set) -> None:
    verdict = verify(sealed.folder)
    assert verdict.problems == ()
    assert verdict.proved + verdict.given == verdict.samples == len(sealed.data.samples)
    assert {s.family for s in sealed.data.samples} | {"twin"} == {*FAMILIES, "given"}
    assert {s.twin for s in sealed.data.samples} == {None, *ASKED}


def test_one_mutation_of_each_kind_is_caught(sealed: Set) -> None:
    """A seeded part of the suite; the rest is the soak."""
    left = survivors(sealed.data, draws_each=1)
    assert {m.kind for m in left} <= UNKNOWABLE.keys(), left


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_of_all_mutations_few_survive_and_they_are_named(sealed: Set) -> None:
    left = survivors(sealed.data, draws_each=SOAK_DRAWS)
    drawn = len(KINDS) * SOAK_DRAWS
    assert drawn >= 1_000
    assert {m.kind for m in left} <= UNKNOWABLE.keys(), left
    assert 1 - len(left) / drawn >= LEAST_CAUGHT, Counter(m.kind for m in left)


ON_DISK = (
    "box of a moment: shifted", "answer: box",
    "sample: moved to another clip", "clip: doubled", "outcome: dropped", "score: dropped", "moment: action",
)  # fmt: skip


@pytest.mark.parametrize("kind", ON_DISK)
def test_verify_finds_the_same_in_the_files(kind: str, sealed: Set, tmp_path: Path) -> None:
    """What is looked at in memory is what verify looks at, and no hash helps it."""
    changed = mutant(sealed.data, kind, 0)
    write_sealed(sealed.folder, changed, tmp_path / "out")
    problems = verify(tmp_path / "out").problems
    assert Counter(problems) == Counter(found(sealed.data, changed))
    assert not any(problem.key == "files" for problem in problems)


def test_the_set_written_again_is_the_same_set(sealed: Set, tmp_path: Path) -> None:
    write_sealed(sealed.folder, sealed.data, tmp_path / "out")
    assert verify(tmp_path / "out") == verify(sealed.folder)
    assert found(sealed.data, sealed.data) == []


def test_a_mutation_follows_from_its_seed(sealed: Set) -> None:
    one, same, another = (mutant(sealed.data, "box of a moment: shifted", draw).clips for draw in (0, 0, 1))
    assert one == same != another


def test_a_kind_that_the_set_does_not_have_is_an_error(sealed: Set) -> None:
    bare = Sealed(
        sealed.data.manifest, clips=sealed.data.clips, samples=sealed.data.samples[:1], scores=[], outcomes=[]
    )
    with pytest.raises(ValueError, match="twin: frame order: nothing to change"):
        mutant(bare, "twin: frame order", 0)


SAYS = {  # a check, and a kind of which some draw is caught by it
    "its boxes tell .* and the camera stands": "moment: action",
    "lie in one step of 10 a second": "moment: added",
    "filled in, and not as sure": "moment: interpolated",
    "begins or ends with a box that was filled in": "moment: interpolated",
    "lost 1 times, risk 0.000": "moment: dropped",
    "and there is no such event": "event: dropped",
    "where that is no event": "event: added",
    "events at the ends of tracks do not come first": "events: order",
    "and the plan names none": "track: who named it",
    "about different subjects": "sample: group of another question",
    "in more than one group": "sample: a group of its own",
    "its number is not among those of its group": "samples: numbers exchanged",
    "drops no sample as skip": "outcome: reason",
    "its clip is not in clips/": "clip: dropped",
}


@pytest.mark.parametrize("says", SAYS)
def test_each_check_catches_something(says: str, sealed: Set) -> None:
    texts = (p.what for k in range(25) for p in found(sealed.data, mutant(sealed.data, SAYS[says], k)))
    assert any(re.search(says, text) for text in texts)


def test_a_time_base_that_is_none_is_named(sealed: Set) -> None:
    first = sealed.data.samples[0]
    samples = [replace(s, time_base_den=0) if s.clip_id == first.clip_id else s for s in sealed.data.samples]
    texts = [p.what for p in found(sealed.data, replace(sealed.data, samples=samples))]
    assert "its time base 1/0 is none" in texts


def test_words_of_motion_of_another_version_are_not_judged(sealed: Set) -> None:
    """They followed from other borders: only what is said of them is looked at."""
    changed = mutant(sealed.data, "moment: action risk", 0)
    assert any("camera stands" in p.what for p in found(sealed.data, changed))
    older = replace(changed, manifest=replace(changed.manifest, plan=("DescribeTracks.version = 1",)))
    assert not any("camera stands" in p.what for p in found(sealed.data, older))


def test_a_program_that_no_family_can_read_is_a_problem_and_no_crash(sealed: Set) -> None:
    chosen = next(s for s in sealed.data.samples if s.family == "beside_when" and s.twin is None)
    program = chosen.program.replace('"axis":0', '"axis":2').replace('"axis":1', '"axis":2')
    samples = [replace(s, program=program) if s is chosen else s for s in sealed.data.samples]
    texts = [p.what for p in found(sealed.data, replace(sealed.data, samples=samples)) if p.key == chosen.sample_id]
    assert any("its program has no answer on its clip" in text for text in texts)
