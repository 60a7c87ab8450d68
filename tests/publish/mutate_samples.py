"""Changes of one row of data/: its conversation, its proof, and its other columns one by one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from schemas.sample import PublishedSample
from stages.algorithms.questions import FAMILIES
from stages.algorithms.twins import KINDS
from tests.publish.mutate_basics import Rng, off, other, put, risk_changed, swapped, ticks_off
from tests.publish.mutate_programs import PROGRAM_CHANGES
from tests.publish.mutate_texts import TEXT_CHANGES, SampleChange


def _frame_order(sample: PublishedSample, rng: Rng) -> PublishedSample | None:
    if sample.frame_order is None:
        return None
    order = swapped(sample.frame_order, rng) or put(sample.frame_order, 0, sample.frame_order[0] % 8 + 1)
    return replace(sample, frame_order=order)


def _twin(sample: PublishedSample, rng: Rng) -> PublishedSample | None:
    return replace(sample, twin=other(rng, (*KINDS, None), sample.twin)) if sample.twin else None


def _plain(sample: PublishedSample, rng: Rng) -> PublishedSample | None:
    """A twin that says it is none."""
    return replace(sample, twin=None, twin_effect=None, frame_order=None, mirrored=False) if sample.twin else None


def _effect(sample: PublishedSample, rng: Rng) -> PublishedSample:
    effects = ("must-change", "must-not-change", "unanswerable", None)
    return replace(sample, twin_effect=other(rng, effects, sample.twin_effect))


def _number(sample: PublishedSample, rng: Rng) -> PublishedSample:
    """The sample's number is one that no other has."""
    return replace(sample, sample_id=f"{sample.sample_id[:-3]}{int(rng.integers(300, 900))}")


def _tpl(field: str) -> SampleChange:
    def changed(sample: PublishedSample, rng: Rng) -> PublishedSample | None:
        value = getattr(sample, field)
        return None if value is None else replace(sample, **{field: value + off(rng, 0.01, 0.5)})

    return changed


def _frame_tick(sample: PublishedSample, rng: Rng) -> PublishedSample:
    at = int(rng.integers(len(sample.frame_tick)))
    return replace(sample, frame_tick=put(sample.frame_tick, at, sample.frame_tick[at] + ticks_off(rng)))


def _with(field: str, values: Sequence[Any]) -> SampleChange:
    return lambda sample, rng: replace(sample, **{field: other(rng, values, getattr(sample, field))})


SAMPLE_CHANGES: dict[str, SampleChange] = {
    **TEXT_CHANGES,
    **PROGRAM_CHANGES,
    "sample: risk": lambda sample, rng: replace(sample, risk=risk_changed(sample.risk, rng)),
    "sample: difficulty": lambda s, rng: replace(s, difficulty=(s.difficulty or 0) + int(rng.integers(1, 9))),
    "sample: direction": _with("direction", ("spatial->record", "identity->trajectory", "time->place", "event->none")),
    "sample: family": _with("family", (*FAMILIES, "given")),
    "sample: answer type": _with("answer_type", ("text", "choice", "box", "interval", "order", "number")),
    "sample: describer": _with("describer", ("manifest", "templates/1", "mllm/other@0")),
    "sample: split": _with("split", ("train", "validation")),
    "sample: uri": lambda sample, rng: replace(sample, uri=f"other-{sample.uri}"),
    "sample: number": _number,
    "sample: start_tick": lambda s, rng: replace(s, start_tick=s.start_tick + ticks_off(rng)),
    "sample: end_tick": lambda s, rng: replace(s, end_tick=s.end_tick + ticks_off(rng)),
    "sample: time base": lambda s, rng: replace(s, time_base_den=int(rng.choice([1000, 30_000, 45_000]))),
    "sample: frame tick": _frame_tick,
    "sample: scorer": lambda sample, rng: replace(sample, scorer="other@1"),
    "sample: scorer_domain": _with("scorer_domain", ("in", "out", "unknown")),
    "sample: tpl": _tpl("tpl"),
    "sample: tpl_key": _tpl("tpl_key"),
    "sample: hackability": _tpl("hackability"),
    "sample: verdict": lambda s, rng: replace(s, verdict="fine") if s.tpl is not None else None,
    "twin: kind": _twin,
    "twin: as a plain sample": _plain,
    "twin: effect": _effect,
    "twin: frame order": _frame_order,
    "twin: mirrored": lambda sample, rng: replace(sample, mirrored=not sample.mirrored),
}
