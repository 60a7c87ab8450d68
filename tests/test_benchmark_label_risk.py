"""The judge behind benchmarks/label_risk.py passes what is true, fails what is not, and says what it cannot read."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import label_risk
from benchmarks.label_curves import Share, by_risk, summary
from benchmarks.label_films import TrueClip, tracks_of
from benchmarks.label_judge import JUDGES, Verdict
from benchmarks.label_rows import STRICT, Row, judged
from benchmarks.label_text import BOX, PLACE
from benchmarks.label_truth import ClipTruth, visible, world_truth
from pipeline.shapes.lessons import TICKS_A_SECOND
from schemas.sample import Message, Sample
from stages.algorithms.compose import compose
from stages.algorithms.questions import FAMILIES
from stages.algorithms.world import Leg, Shape, World
from tests.worlds import worlds

# Perfect tracks have the world's own boxes, in which a triangle that the lower edge cuts keeps its width; and the
# window of describe sees both motions near a turn. The benchmark counts both; here they would hide other errors.
KIND = replace(STRICT, min_iou=0.5, turn_s=0.25)
EXACT = replace(STRICT, turn_s=0.0)
WORLDS = 30
Change = Callable[[TrueClip, str, str], tuple[str, str] | None]


@pytest.fixture(scope="module")
def clips() -> list[TrueClip]:
    """Worlds with perfect tracks, and all that the composer says about them."""
    found: list[TrueClip] = []
    for world, scene, _ in worlds(WORLDS):
        samples = compose(
            scene, clip_id=f"{len(found)}", seed=0, caption_share=0.3, families=tuple(FAMILIES), max_twins=3
        )
        ticks = tuple(range(0, int(world.duration_s * TICKS_A_SECOND), TICKS_A_SECOND // 10))
        times_s = [tick / TICKS_A_SECOND for tick in ticks]
        plan = tuple(ticks.index(tick) for tick in scene.frame_tick)
        truth = ClipTruth(world_truth(world, times_s, times_s), tuple(times_s), plan)
        tracks = tracks_of(scene.tracks, ticks)
        found.append(TrueClip(film="", clip_id=f"{len(found)}", tracks=tracks, samples=tuple(samples), truth=truth))
    return found


def test_what_is_composed_of_the_truth_is_right(clips: list[TrueClip]) -> None:
    rows = judged(clips, KIND)
    assert {row.family for row in rows} >= set(JUDGES) - {"twin", "away", "next", "beside_when"}
    assert [(row.question, row.verdict.not_judged) for row in rows if not row.is_judged] == []
    sure = [row for row in rows if row.risk <= 0.75]
    # Perfect tracks have shapes that only stand, too; the motion expert never tells of those.
    wrong = [row for row in sure if row.verdict.causes - {"count"}]
    assert [(row.question, row.answer, row.verdict.wrong) for row in wrong] == []


def _answer(change: Callable[[str], str | None]) -> Change:
    """A change of the answer alone."""
    return lambda clip, question, answer: (question, changed) if (changed := change(answer)) else None


def _shifted(text: str) -> str:
    """The first box, by half of its width."""

    def moved(m: re.Match[str]) -> str:
        x1, y1, x2, y2 = (int(m[k]) for k in (2, 3, 4, 5))
        return f"frame{m[1]}:[{(x1 + x2) // 2},{y1},{x2 + (x2 - x1) // 2},{y2}]"

    return BOX.sub(moved, text, count=1)


def _elsewhere(text: str) -> str:
    return re.sub(
        rf"(in|on|at) the ({PLACE})\b(?! other)", lambda m: "in the top left" if m[2] == "centre" else "in the centre",
        text, count=1, flags=re.IGNORECASE,
    )  # fmt: skip


def _other_motion(text: str) -> str | None:
    """The first motion, the other way; still is moving."""
    opposite = {"up": "down", "down": "up", "left": "right", "right": "left"}

    def turned(m: re.Match[str]) -> str:
        return m[1] + " ".join(opposite[word] for word in m[2].split(" "))

    return re.sub(r"(mov(?:ing|es) )((?:up|down|left|right)(?: left| right)?)", turned, text, count=1)


def _other_letter(clip: TrueClip, question: str, answer: str) -> tuple[str, str]:
    return question, f"({'BA'[answer[1] == 'B']}){answer[3:]}" if answer[1] in "AB" else f"(A){answer[3:]}"


def _other_option(clip: TrueClip, question: str, answer: str) -> tuple[str, str]:
    wrong = [m for m in re.findall(r"\(([A-D])\) (.+?)(?= \(| Answer)", question) if m[0] != answer[1]]
    return question, f"({wrong[0][0]}) {wrong[0][1]}."


def _shorter(clip: TrueClip, question: str, answer: str) -> tuple[str, str] | None:
    """A span without its last frame, with the times of those that are left."""
    first, last = (int(k) for k in re.findall(r"frame(\d+)", answer))
    if first == last:
        return None
    times = [f"{clip.truth.time_s[clip.truth.plan[k - 1]]:.2f} s" for k in (first, last - 1)]
    return question, f"From frame{first} to frame{last - 1}, {times[0]} to {times[1]}."


def _other_frame(clip: TrueClip, question: str, answer: str) -> tuple[str, str]:
    return re.sub(r" at frame(\d+)", lambda m: f" at frame{int(m[1]) % 8 + 1}", question), answer


def _is_there(clip: TrueClip, question: str, answer: str) -> tuple[str, str] | None:
    """The name of somebody who moves."""
    moving = [s.name for s in clip.truth.subjects if clip.truth.moves(s, EXACT)]
    gone = answer.removeprefix("No ").removesuffix(" moves in this video.")
    return (question.replace(gone, moving[0]), answer.replace(gone, moving[0])) if moving else None


def _appearing(text: str) -> str:
    return re.sub(r"(?<!s and) (moves|stays|waits)", r" appears and \1", text, count=1)


def _denied(clip: TrueClip, question: str, answer: str) -> tuple[str, str] | None:
    """That what happens does not."""
    asked = re.match(r"<video>\nWhen does the (.+) (enter|appear|leave|disappear|start to move|stop|turn)\?", question)
    happens = answer.startswith("From")
    return (question, f"The {asked[1]} does not {asked[2]} in this video.") if asked and happens else None


def _other_side(text: str) -> str:
    sides = {"left": "right", "right": "left", "Above": "Below", "Below": "Above"}
    return re.sub("left|right|Above|Below", lambda m: sides[m[0]], text)


def _one_clause(text: str) -> str | None:
    """The first one alone, where one that moves is left out: what stands need not be told."""
    first, _, others = text.partition(", and ")
    return f"{first}." if " moves " in others else None


CHANGES: list[tuple[str, str, Change]] = [
    ("record", "box", _answer(_shifted)),
    ("record", "missing box", _answer(lambda text: re.sub(r";.*?</id", "</id", text))),
    ("record", "place", _answer(_elsewhere)),
    ("record", "motion", _answer(_other_motion)),
    ("record", "name", _answer(lambda text: re.sub("small|large", "tiny", text, count=1))),
    ("record", "time", _answer(lambda text: re.sub(r"\d\.\d\d s", "9.99 s", text, count=1))),
    ("trajectory", "box", lambda clip, question, answer: (_shifted(question), _shifted(answer))),
    ("trajectory", "name", _answer(lambda text: re.sub("circle|triangle|square", "blob", text))),
    ("when", "span", _shorter),
    ("when", "time", _answer(lambda text: re.sub(r"\d\.\d\d s", "9.99 s", text, count=1))),
    ("where", "place", _answer(_elsewhere)),
    ("where", "box", _answer(_shifted)),
    ("where", "question", _other_frame),
    ("where", "unseen", _answer(lambda text: text.replace("frame", "frame9"))),
    ("direction", "option", _other_letter),
    ("direction", "motion", _other_option),
    ("absent", "name", _is_there),
    ("happens", "event", _denied),
    ("order", "order", _other_option),
    ("doing", "motion", _answer(_other_motion)),
    ("acting", "span", _shorter),
    ("lasting", "duration", _answer(lambda text: re.sub(r"\d\.\d", "9.9", text))),
    ("beside", "side", _answer(_other_side)),
    ("faster", "speed", _other_option),
    ("count", "count", _answer(lambda text: f"{int(text[:-1]) + 5}.")),
    ("choice", "option", _other_letter),
    ("timeline", "place", _answer(_elsewhere)),
    ("caption", "motion", _answer(_other_motion)),
    ("caption", "left out", _answer(_one_clause)),
    ("caption", "event", _answer(_appearing)),
]  # fmt: skip


@pytest.mark.parametrize(("family", "cause", "change"), CHANGES, ids=[f"{f}-{c}" for f, c, _ in CHANGES])
def test_what_is_changed_is_wrong(clips: list[TrueClip], family: str, cause: str, change: Change) -> None:
    changed = [one for clip in clips for one in _changed(clip, change, family)]
    rows = judged(changed, EXACT)
    assert len(rows) >= 3
    assert [(row.question, row.answer, row.verdict) for row in rows if cause not in row.verdict.causes] == []


def _changed(clip: TrueClip, change: Change, family: str) -> Iterator[TrueClip]:
    """The clip with one sample alone, changed, for each of the family that can be."""
    for sample in clip.samples:
        is_one = json.loads(sample.program)["op"] == family
        question, answer = (m.content for m in sample.messages) if is_one else ("", "")
        made = change(clip, question, answer) if answer else None
        if made and made != (question, answer):
            yield replace(clip, samples=(_said(sample, *made),))


def _said(sample: Sample, question: str, answer: str) -> Sample:
    return replace(sample, messages=(Message(role="user", content=question), Message(role="assistant", content=answer)))


def test_a_false_subject_makes_all_about_it_wrong(clips: list[TrueClip]) -> None:
    """A track that lies half of the time on nothing."""
    clip = clips[0]
    tracks = {i: {k: b if k % 2 else (0.9, 0.9, 0.95, 0.95) for k, b in t.items()} for i, t in clip.tracks.items()}
    rows = judged([replace(clip, tracks=tracks)])
    assert all(bool(row.verdict.wrong) == (row.family not in ("absent", "timeline", "caption")) for row in rows)


def test_what_cannot_be_read_is_not_judged_and_says_so(clips: list[TrueClip]) -> None:
    sample = clips[0].samples[0]
    strange = replace(sample, family="poem", program='{"op":"poem"}')
    other_form = _said(sample, sample.messages[0].content, "Roses are red.")
    rows = judged([replace(clips[0], samples=(strange, other_form, sample))])
    assert [row.is_judged for row in rows] == [False, False, True]
    found = summary(rows, 0.75)
    assert (found["composed"], found["judged"]) == (3, 1)
    assert sorted(found["not_judged"]) == [
        "no judge for the family 'poem'", "record: no form that is judged: Roses are red.",
    ]  # fmt: skip


def test_the_visible_part_is_that_of_the_outline() -> None:
    """A triangle of side 0.4 whose lower half is cut keeps half of its width and a quarter of its area."""
    leg = Leg("still", 9.0, 0.0)
    cut = Shape("triangle", "red", "large", 0.2, (0.5, 1.0), (leg,), 0.0, 9.0)
    look = visible(cut, 1.0)
    assert look is not None
    assert look.box == pytest.approx((0.4, 0.8, 0.6, 1.0), abs=1e-6)
    assert look.share == pytest.approx(0.25, abs=1e-6)
    whole = visible(replace(cut, start=(0.5, 0.5)), 1.0)
    assert whole is not None
    assert (*whole.box, whole.share) == pytest.approx((0.3, 0.3, 0.7, 0.7, 1.0), abs=1e-6)
    assert visible(replace(cut, start=(0.5, 1.3)), 1.0) is None
    assert visible(cut, 9.0) is None


def test_coming_is_told_by_how_it_comes() -> None:
    def only(shape: Shape) -> str:
        times_s = [k / 10 for k in range(20)]
        (subject,) = world_truth(World((shape,), 2.0), times_s, times_s)
        return subject.comes

    right = Leg("right", 2.0, 0.8)
    entering = Shape("circle", "red", "small", 0.08, (-0.2, 0.5), (right,), 0.0, 9.0)
    assert only(entering) == "enters"
    assert only(replace(entering, start=(0.2, 0.5), appears_s=0.75)) == "appears"


def test_figures_are_those_counted_by_hand() -> None:
    risks = [0.0] * 10 + [0.1] * 4 + [0.75, 0.8, 1.0]
    wrong = {2, 11, 15, 16}
    rows = [
        Row(clip=f"{k % 3}", sample=f"{k}", family="when", risk=risk, question="", answer="",
            verdict=Verdict(("span: x", "time: y") if k in wrong else ()))
        for k, risk in enumerate(risks)
    ]  # fmt: skip
    found = summary(rows, 0.75)
    assert (found["kept"]["n"], found["kept"]["right"], found["dropped"]["right"]) == (15, 13, 0)
    assert found["coverage"] == pytest.approx(15 / 17)
    assert [(name, share.n, share.right) for name, _, share in by_risk(rows)] == [
        ("0", 10, 9), ("0 to 0.25", 4, 3), ("0.5 to 0.75", 1, 1), ("0.75 to 1", 1, 0), ("1", 1, 0),
    ]  # fmt: skip
    assert found["causes"] == {"when": {"span": 2, "time": 2}}
    share = Share.of(rows[:10])  # 9 of 10; Wilson: (.9 + .192 +- 1.96 sqrt(.09 / 10 + .0096)) / 1.384
    assert (share.low, share.high) == pytest.approx((0.5958, 0.9821), abs=1e-3)


def test_a_tiny_run_writes_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["label_risk", "--films", "1", "--out", str(tmp_path)])
    label_risk.main()
    world = json.loads((tmp_path / "label_risk.json").read_text())["sources"]["generated world"]
    assert world["clips"] >= 2
    assert world["judged"] >= 15
    assert world["kept"]["n"] + world["dropped"]["n"] == world["judged"]
    assert set(world["sensitivity"]) == set(label_risk.OF_THE_WORLD)
    text = (tmp_path / "label_risk.md").read_text()
    assert f"{world['composed']:,} samples of {world['clips']:,} clips" in text
    assert (tmp_path / "label_risk.png").read_bytes()[:4] == b"\x89PNG"
