"""Every number is in the row; a bound drops with the number and the bound; judges are refused by name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jobs.recipe import Recipe, RecipeError, load_recipe
from schemas.clip import DecodedClip
from schemas.outcome import Reason, Skip
from stages.algorithms.quality_judge import JudgeError, load_judge
from stages.filter_clips import REASONS, FilterClips, Looks
from tests.scenes import Film, clip_of, render

FILM = render([], seconds=3, pan_px_s=(32, 0), noise=0)


class FakeFrames:
    """A store that holds one film."""

    def __init__(self, film: Film) -> None:
        self._film = film

    def load(self, clip: object) -> np.ndarray:
        return self._film.frames_THWC


def run(stage: FilterClips, film: Film = FILM) -> DecodedClip | Skip:
    clip = replace(clip_of(film, camera="static"), plan_index=(3, 9, 15, 21, 27))
    judges = {kind: load_judge(name) for kind in ("aesthetic", "nsfw") if (name := getattr(stage, kind))}
    (row,) = stage.process(Looks(FakeFrames(film), judges), [clip])  # type: ignore[arg-type]
    return row


def half_black() -> Film:
    frames_THWC = FILM.frames_THWC.copy()
    frames_THWC[15:] = 0
    return replace(FILM, frames_THWC=frames_THWC)


def test_by_default_every_number_is_there_and_nothing_is_dropped() -> None:
    for film in (FILM, half_black(), replace(FILM, frames_THWC=np.zeros_like(FILM.frames_THWC))):
        assert isinstance(run(FilterClips(), film), DecodedClip)
    row = run(FilterClips(), half_black())
    assert isinstance(row, DecodedClip)
    assert row.quality is not None
    assert row.quality.black_share == 0.5
    assert row.quality.frozen_share == 0.5  # black does not change
    assert row.quality.luminance < 0.3 < row.quality.luminance_spread * 2
    assert row.quality.picture_share == 1.0
    assert (row.quality.aesthetic, row.quality.nsfw, row.quality.near_duplicate_of) == (None, None, None)
    assert row.fingerprint is not None
    assert len(row.fingerprint) == 8 * 32 * 32


def test_the_row_survives_arrow() -> None:
    row = run(FilterClips(aesthetic="tests.judges:Bright@2"))
    assert isinstance(row, DecodedClip)
    assert DecodedClip.from_arrow(DecodedClip.to_arrow([row])) == [row]
    bare = replace(row, quality=None, fingerprint=None)
    assert DecodedClip.from_arrow(DecodedClip.to_arrow([bare])) == [bare]


def test_each_bound_drops_with_its_own_reason_and_keeps_on_the_other_side() -> None:
    row = run(FilterClips(aesthetic="tests.judges:Bright@2", nsfw="tests.judges:Bright@2"), half_black())
    assert isinstance(row, DecodedClip)
    for name, reason in REASONS.items():
        found = getattr(row.quality, name[4:])
        beyond, within = (found + 0.01, max(0, found - 0.01)) if name.startswith("min") else (found - 0.01, found)
        judge = {name[4:]: "tests.judges:Bright@2"} if name[4:] in ("aesthetic", "nsfw") else {}
        if beyond >= 0:
            dropped = run(FilterClips(**judge, **{name: beyond}), half_black())  # type: ignore[arg-type]
            assert isinstance(dropped, Skip), name
            assert dropped.reason is reason
        kept = run(FilterClips(**judge, **{name: within}), half_black())  # type: ignore[arg-type]
        assert isinstance(kept, DecodedClip), name


def test_a_drop_says_number_and_bound_of_all_that_is_wrong() -> None:
    stage = FilterClips(min_luminance=0.001, max_black_share=0.1, max_frozen_share=0.25)
    assert run(stage, half_black()) == Skip(Reason.BLACK, "black_share 0.5 > 0.1; frozen_share 0.5 > 0.25")


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ({"max_black_share": 20}, "max_black_share=20: a number from 0 to 1"),
        ({"min_motion": -1}, "min_motion=-1: a number from 0 on"),
        ({"max_motion": float("nan")}, "max_motion=nan: a number from 0 on"),
        ({"min_luminance": 0.5, "max_luminance": 0.4}, "no clip would be kept"),
        ({"max_nsfw": 0.5}, "max_nsfw=0.5 bounds nothing: name a judge as nsfw"),
        ({"aesthetic": "tests.judges:Bright"}, "give package.module:factory@version"),
        ({"aesthetic": "nobody.at_home:Bright@2"}, "'nobody.at_home:Bright@2' cannot be imported: No module named"),
        ({"nsfw": "tests.judges:Dark@2"}, "'tests.judges:Dark@2' cannot be imported: .* no attribute 'Dark'"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(bounds: dict[str, float | str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        FilterClips(**bounds)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=says):
        Recipe.model_validate({"filter": bounds})


def test_a_typo_in_the_recipe_names_the_file_and_the_keys(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("filter: {max_blackshare: 0.1}\n")
    with pytest.raises(RecipeError, match=r"mine\.yaml: .*filter: unknown key max_blackshare; known: min_motion"):
        load_recipe(str(path))


def test_a_judge_is_asked_about_the_planned_frames_and_named_with_its_version() -> None:
    row = run(FilterClips(aesthetic="tests.judges:Bright@2"))
    assert isinstance(row, DecodedClip)
    assert row.quality is not None
    planned = FILM.frames_THWC[[3, 9, 15, 21, 27]]
    assert row.quality.aesthetic == pytest.approx(planned.mean() / 255)
    assert row.quality.aesthetic_judge == "bright@2"
    assert row.quality.nsfw is row.quality.nsfw_judge is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tests.judges:nan@1", "gave nan: a number from 0 to 1"),
        ("tests.judges:percent@1", "gave 93: a number from 0 to 1"),
        ("tests.judges:text@1", "gave '0.5': a number from 0 to 1"),
        ("tests.judges:Bright@1", "is version '2': name the version that is installed"),
        ("tests.judges:number@1", "is a float: id, version and judge"),
    ],
)
def test_a_judge_that_talks_nonsense_is_refused_by_name(name: str, says: str) -> None:
    with pytest.raises(JudgeError, match=f"'{name}' {says}"):
        run(FilterClips(nsfw=name))


def test_the_fingerprint_moves_with_bounds_and_versions_not_with_the_store() -> None:
    plain = FilterClips().fingerprint
    assert FilterClips(store_dir="elsewhere", store_gb=1).fingerprint == plain
    others = [
        FilterClips(max_black_share=0.1),
        FilterClips(drop_near_duplicates=True),
        FilterClips(aesthetic="tests.judges:Bright@2"),
        FilterClips(aesthetic="tests.judges:Bright@3"),
    ]
    assert len({plain, *(stage.fingerprint for stage in others)}) == 5
