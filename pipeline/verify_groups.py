"""What does not follow between the samples of one clip: who is matched with whom, and in which order they stand."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from pipeline.sealed import Problem, short
from pipeline.verify_rows import is_given, program_of
from schemas.sample import PublishedSample
from stages.algorithms.asking import Program, to_json

MATCHED = {
    "when": "place", "where": "place", "doing": "motion", "acting": "motion", "lasting": "motion",
    "beside_when": "beside",
}  # fmt: skip
ABOUT = {  # beside subjects, what the samples of a group share
    "record": ("frame", "caption"), "beside": ("axis",), "order": ("events",), "next": ("event", "events"),
    "choice": ("of",), "conversation": ("turns",),
}  # fmt: skip


def group_problems(samples: Sequence[PublishedSample]) -> Iterator[Problem]:
    """Groups of samples about different things, or about one thing in two groups; numbers in another order.

    The composer numbers a clip's samples group by group, then their twins, which are of the group of their question.
    """
    about: defaultdict[str, set[str]] = defaultdict(set)
    groups: defaultdict[str, set[str]] = defaultdict(set)
    order: list[tuple[tuple[bool, int, str], str]] = []
    for sample in sorted(samples, key=lambda s: (len(s.sample_id), s.sample_id)):
        program = program_of(sample)
        if program is None or is_given(sample):
            continue
        is_twin, group_id = program.get("op") == "twin", "" if program.get("op") == "twin" else sample.group_id
        what = _about(program["of"] if is_twin and isinstance(program.get("of"), dict) else program)
        about[sample.group_id].add(what)
        groups[what].add(sample.group_id)
        order.append(((is_twin, len(group_id), group_id), sample.sample_id))
    for group_id, things in about.items():
        if len(things) > 1:
            yield Problem(group_id, f"its samples are about different subjects: {short(sorted(things))}")
    for what, found in groups.items():
        if len(found) > 1:
            yield Problem(min(found), f"{short(what)} is asked about in more than one group: {short(sorted(found))}")
    for (before, _), (after, sample_id) in pairwise(order):
        if after < before:
            yield Problem(sample_id, "its number is not among those of its group")


def _about(program: Program) -> str:
    """What a question and those matched with it have in common: the subjects, and what else their family shares."""
    op = MATCHED.get(str(program.get("op")), program.get("op"))
    tracks = program.get("tracks")
    more = [program.get(key) for key in ABOUT.get(str(op), ())]
    return to_json([op, program.get("track"), sorted(tracks, key=str) if isinstance(tracks, list) else tracks, *more])
