"""Answers of the families beyond the paper's, about the frames that a loader shows, are true or are not given."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from pipeline.shapes.lessons import TICKS_A_SECOND
from stages.algorithms.compose import PAPER
from stages.algorithms.questions import FAMILIES
from stages.algorithms.reshow import NotShown, moved, rerender, views
from stages.algorithms.scene import name
from tests.export.shown_worlds import as_sample, cases
from tests.export.test_reshow import frames_of, wrong_times
from tests.world_events import untrue

MORE = tuple(sorted(set(FAMILIES) - {*PAPER, "twin", "conversation"}))  # those two are dropped by name before


@pytest.mark.parametrize(("trainer", "frames"), [("qwen-vl", 12), ("llava-onevision", 8)])
def test_every_exported_answer_is_true(trainer: str, frames: int) -> None:
    out: Counter[str] = Counter()
    for case in cases(90, families=MORE, shapes=3):
        index = frames_of(case, trainer, frames)
        try:
            seen = views(case.shown(index), case.tracks, case.events)
        except NotShown:
            continue
        if {name(t) for t in seen.scenes[0].tracks} < {s.name for s in case.world.shapes}:
            continue  # the judge knows subjects by their tracks
        truth = replace(seen.scenes[0], frame_tick=case.shown(index).frame_tick)
        for sample in case.samples:
            try:
                program = moved(json.loads(sample.program), case.plan, case.shown(index).frame_tick)
                said = rerender(program, seen, case.tracks, max_risk=0.75)
            except NotShown:
                continue
            out[sample.family] += 1
            assert untrue(case.world, truth, TICKS_A_SECOND, as_sample(sample, program, said)) == [], said
            assert wrong_times(f"{said.question} {said.answer}", truth.frame_tick) == []
    assert set(out) >= {"happens", "order", "during", "doing", "acting", "lasting", "beside", "count", "choice"}, out
    assert out.total() > 500
