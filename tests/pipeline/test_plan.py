"""Plans are typed, print themselves, and have a fingerprint."""

import pytest

from pipeline.plan import Plan
from tests.toys import FILMS, CutBeats, CutScenes, Film, RateBeats, long_plan, plan


def test_a_miswired_plan_fails_before_anything_runs():
    with pytest.raises(TypeError, match="RateBeats reads Beat, got Scene"):
        Plan.of(FILMS, Film).then(CutScenes()).then(RateBeats())  # type: ignore[arg-type]


def test_a_uri_that_appears_twice_is_refused():
    with pytest.raises(ValueError, match=r"appear twice: a\.mp4"):
        Plan.of([FILMS[0], FILMS[1], FILMS[0]], Film)


def test_a_plan_prints_its_stages():
    lines = str(plan()).splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["CutScenes", "Film", "->", "Scene"],
        ["CutBeats", "Scene", "->", "Beat"],
        ["RateBeats", "Beat", "->", "RatedBeat"],
    ]


def test_the_fingerprint_moves_with_meaning_only():
    assert plan().fingerprint == plan(films=FILMS[:1]).fingerprint
    assert plan().fingerprint == plan(delay_s=9.0).fingerprint  # operational
    assert plan().fingerprint != plan(scale=0.25).fingerprint
    assert plan().fingerprint != long_plan().fingerprint


def test_the_parameters_show_what_differs():
    old, new = plan().describe_parameters(), plan(scale=0.25).describe_parameters()
    assert set(old) ^ set(new) == {"RateBeats.scale = 0.5", "RateBeats.scale = 0.25"}
    assert "CutBeats.beats = 3" in old
    assert any(line.startswith("CutScenes.writes = Scene ") for line in old)


def test_a_class_used_twice_has_two_names():
    names = [name for name, _ in long_plan().named]
    assert names[3:] == ["Keep", "Keep_2", "Pass", "Keep_3", "Keep_4", "Pass_2", "Keep_5"]
    assert CutBeats() == CutBeats(beats=3)
