"""Is a sample right? Every claim of its question and answer against the truth of its clip, family by family.

A judge yields what is wrong, each as "cause: detail"; nothing means that the sample is right. A family without a judge
and a text of a form that no judge reads are not judged, and say so.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.label_claims import Case
from benchmarks.label_events import during, following, happens, order
from benchmarks.label_motions import acting, away, beside, beside_when, count, doing, faster, lasting
from benchmarks.label_subjects import absent, caption, direction, record, timeline, trajectory, when, where
from benchmarks.label_text import Unreadable, read
from benchmarks.label_truth import NotKnown, NotShown
from benchmarks.label_twins import twin_truth


@dataclass(frozen=True, slots=True)
class Verdict:
    wrong: tuple[str, ...]
    not_judged: str | None = None  # why

    @property
    def causes(self) -> frozenset[str]:
        return frozenset(w.partition(":")[0] for w in self.wrong)


Judge = Callable[[Case], Iterator[str]]


def judge(case: Case) -> Verdict:
    """What is wrong with a sample, or why it is not judged."""
    family = case.program["op"]
    if family not in JUDGES:
        return Verdict((), f"no judge for the family {family!r}")
    if any(case.owners[track_id] is None for track_id in track_ids(case.program)):
        return Verdict(("false subject: a track shows none",))
    try:
        return Verdict(tuple(dict.fromkeys(JUDGES[family](case))))
    except NotShown as error:
        return Verdict((f"unseen: {error}",))
    except NotKnown as error:
        return Verdict((), f"{family}: {error}")
    except Unreadable as error:
        return Verdict((), f"{family}: no form that is judged: {str(error)[:160]}")


def track_ids(program: Any) -> Iterator[int]:
    """All tracks that a program names, also inside the programs and events that it is made of."""
    if isinstance(program, list):
        for part in program:
            yield from track_ids(part)
    elif isinstance(program, dict):
        yield from (program[key] for key in ("track", "other") if key in program)
        yield from program.get("tracks", ())
        for part in program.values():
            yield from track_ids(part)


def choice(case: Case) -> Iterator[str]:
    """A question of another family with options: the one chosen is right, and none of the others."""
    letter, said = read(r"\(([A-Z])\) (.+)", case.answer).groups()
    own = dict(zip("ABCDEFGH", case.program["options"], strict=False))
    listed = " ".join(f"({k}) {option.removesuffix('.')}" for k, option in own.items())
    if own.get(letter) != said or f" {listed} Answer" not in case.question:
        yield f"option: {case.answer} of {listed}"
    base = replace(case, program=case.program["of"], question=case.question.partition(" (A) ")[0])
    judge_of = JUDGES.get(base.program["op"])
    if judge_of is None:
        raise Unreadable(f"no judge for the family {base.program['op']!r}")
    for key, option in own.items():
        if key == letter:
            yield from judge_of(replace(base, answer=option))
        elif not list(judge_of(replace(base, answer=option, tolerance=replace(case.tolerance, turn_s=0.0)))):
            yield f"option: ({key}) {option} is right, too"


def twin(case: Case) -> Iterator[str]:
    """A question of another family about the clip shown otherwise."""
    kind, of = case.program["kind"], case.program["of"]
    if case.answer == IN_STILLS:
        if kind != "frozen" or of["op"] in AT_FRAMES:
            yield f"still: a {kind} film tells it"
        return
    judge_of = JUDGES.get(of["op"])
    if judge_of is None:
        raise Unreadable(f"no judge for the family {of['op']!r}")
    truth = twin_truth(case.truth, kind, int(case.program["at"]))
    again = {id(subject): shown for subject, shown in zip(case.truth.subjects, truth.subjects, strict=True)}
    owners = {i: again[id(subject)] if subject else None for i, subject in case.owners.items()}
    yield from judge_of(replace(case, program=of, truth=truth, owners=owners))


IN_STILLS = "This cannot be told: the video shows one picture all the time."
AT_FRAMES = ("where", "when", "beside", "count")  # what a single picture tells, too
JUDGES: dict[str, Judge] = {
    "record": record, "trajectory": trajectory, "when": when, "where": where, "direction": direction,
    "absent": absent, "timeline": timeline, "caption": caption,
    "happens": happens, "order": order, "next": following, "during": during,
    "doing": doing, "acting": acting, "lasting": lasting, "away": away,
    "beside": beside, "beside_when": beside_when, "faster": faster, "count": count,
    "choice": choice, "twin": twin,
}  # fmt: skip
