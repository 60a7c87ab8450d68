"""Answers about other frames are true of the generated world, or are not given."""

import json
import re
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from pipeline.shapes.lessons import TICKS_A_SECOND
from stages.algorithms import reshow
from stages.algorithms.reshow import NotShown, moved, rerender, views
from stages.algorithms.samplers import SAMPLERS, Budget, Stated
from stages.algorithms.scene import name
from tests.export.shown_worlds import FPS, Case, as_sample, cases
from tests.worlds import lies

STRICT = 0.0005  # of the frame: the judge allows a box to be one thousandth off


def frames_of(case: Case, trainer: str, frames: int, fps: float | None = None) -> tuple[int, ...]:
    n = len(case.film_tick)
    film = Stated(n_frames=n, header_frames=n, rate_hz=float(FPS), duration_s=n / FPS)
    return SAMPLERS[trainer](film, Budget(frames=frames, fps=fps), None)


def judged(case: Case, index: tuple[int, ...], told: tuple[int, ...] | None = None) -> tuple[Counter, Counter, list]:
    """Families exported, reasons of drops, lies; `told`: the frames that are really shown, where these are others."""
    out, dropped, found = Counter(), Counter(), []
    try:
        seen = views(case.shown(index), case.tracks, case.events, box_error=STRICT)
    except NotShown as why:
        return out, Counter({why.reason: len(case.samples)}), []
    truth = replace(seen.scenes[0], frame_tick=case.shown(told or index).frame_tick)  # times and names for the judge
    for sample in case.samples:
        try:
            program = moved(json.loads(sample.program), case.plan, case.shown(index).frame_tick)
            said = rerender(program, seen, case.tracks, max_risk=0.75)
        except NotShown as why:
            dropped[why.reason] += 1
            continue
        out[sample.family] += 1
        found += lies(case.world, truth, as_sample(sample, program, said))
        found += wrong_times(f"{said.question} {said.answer}", truth.frame_tick)
    return out, dropped, found


def wrong_times(text: str, frame_tick: tuple[int, ...]) -> list[str]:
    """Times beside frames that are not those of the frames."""
    times = [f"{tick / TICKS_A_SECOND:.2f}" for tick in frame_tick]
    spans = re.compile(r"frame(\d+) to frame(\d+), (\d+\.\d\d) s to (\d+\.\d\d) s")
    pairs = [pair for a, b, start, end in spans.findall(text) for pair in ((a, start), (b, end))]
    pairs += re.findall(r"frame(\d+), (\d+\.\d\d) s", spans.sub("", text))
    return [f"frame{k} at {time}" for k, time in pairs if times[int(k) - 1] != time]


def tried(count: int, trainer: str = "qwen-vl", frames: int = 8, shift: int = 0) -> tuple[Counter, Counter, list]:
    out, dropped, found = Counter(), Counter(), []
    for case in cases(count):
        index = frames_of(case, trainer, frames)
        told = tuple(min(k + shift, len(case.film_tick) - 1) for k in index)
        exported, why, lied = judged(case, index, told)
        out, dropped, found = out + exported, dropped + why, found + lied
    return out, dropped, found


@pytest.mark.parametrize(
    ("trainer", "frames", "fps"),
    [("llava-next", 8, 4.0), ("llava-onevision", 8, None), ("qwen-vl", 12, 4.0), ("llama-factory", 6, 2.0)],
)
def test_every_exported_answer_is_true(trainer: str, frames: int, fps: float | None) -> None:
    out, dropped = Counter(), Counter()
    for case in cases(50):
        exported, why, found = judged(case, frames_of(case, trainer, frames, fps))
        assert found == []
        assert exported.total() + why.total() == len(case.samples)
        out, dropped = out + exported, dropped + why
    assert set(out) == {"record", "trajectory", "when", "where", "direction", "absent", "timeline", "caption"}
    assert min(out.values()) >= 15, (out, dropped)
    assert out.total() > dropped.total()


def test_the_plans_own_frames_give_the_published_samples() -> None:
    """Nothing is lost, moved or worded anew where a loader shows what the plan has."""
    for case in cases(30):
        seen = views(case.shown(tuple(case.film_tick.index(t) for t in case.plan)), case.tracks, case.events)
        for sample in case.samples:
            if sample.risk <= 0.75 and sample.family != "caption" and not json.loads(sample.program).get("caption"):
                program = moved(json.loads(sample.program), case.plan, case.plan)
                said = rerender(program, seen, case.tracks, max_risk=0.75)
                assert as_sample(sample, program, said) == sample


def test_boxes_are_as_near_as_is_said() -> None:
    worst, off, judged = 0.0, 0, 0
    for case in cases(60):
        with suppress(NotShown):
            seen = views(case.shown(frames_of(case, "qwen-vl", 16)), case.tracks, case.events)
            off += len(seen.off)
            scene, *others = seen.scenes
            if others:  # where it is in doubt whether a subject is there, no text tells of its box
                continue
            for track in scene.tracks:
                (shape,) = [s for s in case.world.shapes if s.name == name(track)]
                for k, moment in scene.seen(track).items():
                    truth = shape.box(moment.tick / TICKS_A_SECOND)
                    if truth and (track.track_id, k) not in seen.off:
                        box = [v / track.frame_width_px for v in moment.box_xyxy_px]  # frames are square
                        worst, judged = max(worst, *(abs(a - b) for a, b in zip(box, truth, strict=True))), judged + 1
    assert judged > 500
    assert off > 0
    assert 0.001 < worst <= reshow.BOX_ERROR


@pytest.mark.parametrize("shift", [1, -1])
def test_shown_frames_that_are_one_late_are_caught(shift: int) -> None:
    assert len(tried(15, shift=shift)[2]) > 100


def _nearest(track: Any, one: Any, other: Any, tick: int, around: Any) -> reshow._Found:
    near = one if tick - one.tick < other.tick - tick else other
    return reshow._Found(replace(near, tick=tick))


def _all_there(*options: Any, repeat: int | None = None) -> Any:
    return product(*options) if repeat is None else [(True,) * repeat]


MUTATIONS: dict[str, tuple[str, Any]] = {
    "the nearest moment for the line between two": ("_between", _nearest),
    "turns are not seen": ("_bends", lambda three, w, h: [0.0]),
    "who comes or goes is there": ("product", _all_there),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_mutated_reshow_is_caught(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attribute, mutant = MUTATIONS[what]
    monkeypatch.setattr(reshow, attribute, mutant)
    assert tried(60, "llava-onevision", 12)[2]


def test_a_query_frame_becomes_the_nearest_one_shown() -> None:
    program = {"op": "where", "track": 1, "frame": 3}
    assert moved(program, (0, 10, 20, 30), (1, 9, 18, 27, 36)) == {"op": "where", "track": 1, "frame": 3}
    assert moved(program, (0, 10, 20, 30), (6, 19, 29)) == {"op": "where", "track": 1, "frame": 2}


def test_fewer_frames_drop_what_they_do_not_show() -> None:
    many, _, _ = tried(30, frames=16)
    few, reasons, _ = tried(30, frames=2)
    assert few["direction"] < many["direction"]
    assert reasons["query_frame_not_shown"] > 0
    assert reasons["motion_not_shown"] > 0


def test_a_pair_of_frames_stays_inside_itself() -> None:
    program = {"op": "direction", "track": 1, "first": 2, "last": 4, "options": []}
    found = moved(program, (0, 10, 20, 30, 40), (0, 4, 12, 25, 31, 40))
    assert (found["first"], found["last"]) == (3, 4)
    with pytest.raises(NotShown, match="1 frames shown between"):
        moved(program, (0, 10, 20, 30, 40), (0, 15, 40))


def test_a_frame_far_from_those_shown_is_not_asked_about() -> None:
    with pytest.raises(NotShown) as why:
        moved({"op": "where", "track": 1, "frame": 5}, (0, 10, 20, 30, 40), (0, 5, 10, 15))
    assert why.value.reason == "query_frame_not_shown"


def test_a_program_that_may_hold_other_frames_is_not_taken_over() -> None:
    with pytest.raises(NotShown, match="at_frames") as why:
        moved({"op": "order", "track": 1, "at_frames": [1, 2]}, (0, 10), (0, 10))
    assert why.value.reason == "unknown_program"
