"""The policy of a clip: bounds on density that drop all its samples by name, and none that drop none."""

import re
from dataclasses import replace
from typing import Any

import pytest

from schemas.sample import MeasuredClip, SelectedClip
from stages.select_samples import SelectSamples, density_of
from tests.publish.builders import make_clip, video_id_of

CLIP = make_clip(video_id_of("dense"))
ROW: dict[str, Any] = {name: getattr(CLIP, name) for name in MeasuredClip.schema().names}
ROW["drops"] = ()
MEASURED = MeasuredClip(**ROW)
(WHERE,) = [s for s in CLIP.samples if s.family == "where"][:1]
THIN = replace(MEASURED, samples=(WHERE,))


def selected(clip: MeasuredClip, stage: SelectSamples) -> SelectedClip:
    (found,) = stage.process(None, [clip])
    return found


def test_without_bounds_nothing_is_dropped() -> None:
    found = selected(MEASURED, SelectSamples())
    assert found.selected == tuple(s.sample_id for s in MEASURED.samples)
    assert found.drops == ()


@pytest.mark.parametrize(
    ("bound", "says"),
    [
        ({"min_cited_share": 0.126}, r"cited_share 0.125 < 0.126"),
        ({"min_tokens_per_s": 60.0}, r"tokens_per_s [\d.]+ < 60"),
        ({"max_uncited_s": 0.5}, r"uncited_s [\d.]+ > 0.5"),
        ({"min_cited_share": 1.0, "max_uncited_s": 0.1}, r"cited_share 0.125 < 1; uncited_s [\d.]+ > 0.1"),
    ],
)
def test_a_thinly_supervised_clip_loses_all_its_samples_by_name(bound: dict[str, Any], says: str) -> None:
    found = selected(THIN, SelectSamples(**bound))
    assert found.selected == ()
    ((key, stage, reason, detail),) = [(d.key, d.stage, d.reason, d.detail) for d in found.drops]
    assert (key, stage, reason) == (WHERE.sample_id, "SelectSamples", "sparse")
    assert re.fullmatch(says, detail), detail


def test_a_bound_is_met_by_its_own_value() -> None:
    there = density_of(THIN, THIN.samples)
    bounds = SelectSamples(
        min_cited_share=there.cited_share, min_tokens_per_s=there.tokens_per_s, max_uncited_s=there.uncited_s
    )
    assert selected(THIN, bounds).selected == (WHERE.sample_id,)


def test_samples_that_go_for_another_reason_do_not_supervise() -> None:
    """Of a clip of which only the place is scored, the others are not counted, and keep their own reason."""
    scores = tuple(replace(s, target_id=WHERE.sample_id) for s in MEASURED.sample_scores[:1])
    clip = replace(MEASURED, sample_scores=scores)
    found = selected(clip, SelectSamples(drop_unscored=True, min_cited_share=0.5))
    reasons = {d.key: d.reason for d in found.drops}
    assert found.selected == ()
    assert reasons.pop(WHERE.sample_id) == "sparse"
    assert set(reasons.values()) == {"not_scored"}
    assert len(found.drops) == len(clip.samples)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"min_cited_share": 1.5}, "min_cited_share=1.5: a number from 0 to 1"),
        ({"max_uncited_s": -1.0}, "max_uncited_s=-1: a number from 0 on"),
        ({"min_tokens_per_s": float("nan")}, "min_tokens_per_s=nan"),
        ({"balance": ("letter", "where")}, "balance: unknown question where; known: letter, direction, place"),
    ],
)
def test_bounds_that_cannot_be_meant_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SelectSamples(**wrong)
