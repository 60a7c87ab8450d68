"""The figures of benchmarks/label_risk.py for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.label_events import TOO_LONG_S
from benchmarks.label_films import CRFS, FPS, MAX_SHAPES, SIDES_PX
from benchmarks.label_motions import DURATION_S, LEVEL
from benchmarks.label_plot import ASKED_ACCURACY, ASKED_COVERAGE

RIGHT = (
    ("subject", "at least {owner_share:.0%} of the track's boxes lie on one shape (IoU .5); else every sample about it "
     "is wrong"),
    ("name", "size, colour and shape are the shape's own; \"object\" for the shape where size and colour are true and "
     "fit nobody else"),
    ("box", "IoU >= {min_iou:g} with the visible part; one where nothing is visible is wrong"),
    ("whole track", "a box at each planned frame at which half of the shape or more is visible"),
    ("place", "the ninth of the frame in which the centre of the visible part lies, with no tolerance"),
    ("span, time to place", "planned frame by planned frame, none more and none fewer; where less than half of the "
     "shape is visible both are right; seconds are those of the frames"),
    ("motion at a frame", "the leg's word; within {turn_s:g} s of a turn either leg's"),
    ("direction", "the one leg's word over the whole span, but for {turn_s:g} s at its ends; the letter is that "
     "word's"),
    ("question of a record, name", "true of the subject, and of no other shape that is in view, whether that one "
     "moves or stands"),
    ("absent", "no shape of that name moves while it is in view"),
    ("timeline", "at each planned frame every shape that is told is there, and at that place; every shape that moves "
     "in the clip and is half visible is told"),
    ("caption", "each clause: name, coming and going and how (nearer than {event_s:g} s to the clip's ends it may be "
     "left out), all motions that are in view for {leg_s:g} s in their order and no false one, first and last place; "
     "who moves, comes or goes and is half visible at a planned frame is told"),
    ("an event", "happens once; it is not over at the first frame of its span, has begun at the last, and no frame "
     "between them is more than {too_long:g} s before or after it; one that is denied does not happen"),
    ("order, next", "by the times of the true events, each of which happens once; who begins before the other is over "
     "by more than {turn_s:g} s has no order with it"),
    ("during", "at that place at all tracking frames around the event"),
    ("doing, acting", "the true motions in order, and at which frames, as above"),
    ("lasting", "within {off:g} s of the time for which it is seen to move so"),
    ("away", "not half visible at these planned frames, and in view at those around them"),
    ("beside", "by the centres of the visible parts; when: frames at which two are less than {level:g} sides apart "
     "along the axis may be left out"),
    ("faster", "by the way of the centre of the visible part while it is seen"),
    ("count", "of the shapes that move in the clip (of what is shown of it, in a twin)"),
    ("choice, conversation, twin", "the question in it is right, and no other option is; every turn is right; right "
     "of the frames as the twin shows them"),
)  # fmt: skip
OTHERS = {"too_long": TOO_LONG_S, "off": DURATION_S, "level": LEVEL}


def report(result: Mapping[str, Any]) -> str:
    world = result["sources"]["generated world"]
    sizes = ", ".join(map(str, SIDES_PX))
    lines = [
        "# Label risk",
        "",
        f"`{result['command']}`, {result['cpu_s']:.0f} CPU s of the parent on {result['machine']}. {result['films']} "
        f"generated films of three shots, of {' or '.join(map(str, MAX_SHAPES))} shapes at most, at "
        f"{', '.join(f'{float(f):.4g}' for f in FPS)} frames a second, {sizes} px, crf {', '.join(map(str, CRFS))}, "
        "through probe, split, decode, detect (motion), track, describe and compose with the defaults of a build; no "
        f"sample is dropped before it is judged. {world['composed']:,} samples of {world['clips']:,} clips, "
        f"{world['judged']:,} judged.",
        "",
        *_not_judged(world),
        "| asked, at the default threshold | asked | measured |",
        "|-|-|-|",
        _asked(world, "accuracy", ASKED_ACCURACY),
        _asked(world, "coverage", ASKED_COVERAGE),
        "",
        "Percent right, with Wilson's 95 % interval as if samples were independent; those of a clip are not, so of the "
        f"kept ones the interval by bootstrap over clips is {_percent(world['kept']['clips_low'])} to "
        f"{_percent(world['kept']['clips_high'])}. Coverage: samples that are kept, of all that are composed.",
        "",
        "![Reliability](label_risk.png)",
        "",
        *_tables(world),
        "## What is called right",
        "",
        "Judged by the world's truth in the part of each shape that is inside the frame, by code that shares nothing "
        "with describe and compose. A sample is right where every claim of its question and of its answer is true; "
        "one that is false makes it wrong. Truth is exact; the table above says what the tolerances are worth.",
        "",
        "| claim | right where |",
        "|-|-|",
        *(f"| {claim} | {rule.format(**result['tolerance'], **OTHERS)} |" for claim, rule in RIGHT),
        "",
    ]
    people = result["sources"].get("people")
    return "\n".join([*lines, *(_people(people) if people else ["Films of people were not measured.", ""])])


def _people(found: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        "## People, by a tracking truth",
        "",
        "PETS09-S2L1, TUD-Campus and TUD-Stadtmitte through the same chain with a detector, under the settings of the "
        "recipe people_and_cars; reported, not tuned. The truth knows whose box is where: subjects, boxes, places, "
        "spans and ambiguity are judged as above, but boxes from IoU .5 on, as in MOTChallenge; colours and motions "
        "are not judged. A question that fits a person whom the detector does not see is ambiguous, and wrong.",
        "",
        *_not_judged(found),
        f"At {found['threshold']:g} {_share(found['kept'])} of {found['kept']['n']:,} are right; coverage "
        f"{found['coverage']:.2f}. By film:",
        "",
        "| film | judged | coverage | right of the kept | right of the dropped |",
        "|-|-:|-:|-|-|",
        *(
            f"| {film} | {f['judged']:,} | {f['coverage']:.2f} | {_share(f['kept'])} | {_share(f['dropped'])} |"
            for film, f in found["films"].items()
        ),
        "",
        *_tables(found),
    )


def _tables(found: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        "| risk | samples | mean risk | right |",
        "|-|-:|-:|-|",
        *(f"| {b['bin']} | {b['n']:,} | {b['mean_risk']:.2f} | {_share(b)} |" for b in found["by_risk"]),
        "",
        f"By family under the threshold {found['threshold']:g}:",
        "",
        "| family | composed | kept | right of the kept | right of the dropped | causes of the wrong that are kept |",
        "|-|-:|-:|-|-|-|",
        *(
            f"| {family} | {f['composed']:,} | {f['kept']['n']:,} | {_share(f['kept'])} | {_share(f['dropped'])} "
            f"| {_causes(found['causes'].get(family, {}))} |"
            for family, f in found["by_family"].items()
        ),
        "",
        "| threshold | coverage | right |",
        "|-|-:|-|",
        *(f"| {p['threshold']:g} | {p['coverage']:.3f} | {_share(p)} |" for p in found["curve"]),
        "",
        f"How much it owes to each tolerance (right of the kept under {found['threshold']:g}):",
        "",
        "| tolerance | right |",
        "|-|-|",
        *(f"| {name} | {_share(share)} |" for name, share in found["sensitivity"].items()),
        "",
    )


def _not_judged(found: Mapping[str, Any]) -> Iterator[str]:
    if found["not_judged"]:
        yield "**Not judged, and in no figure below:**"
        yield ""
        yield from (f"- {count:,}: {reason}" for reason, count in found["not_judged"].items())
        yield ""


def _asked(found: Mapping[str, Any], name: str, asked: float) -> str:
    value = found["kept"]["accuracy"] if name == "accuracy" else found["coverage"]
    said = f" of {found['kept']['n']:,}" if name == "accuracy" else ""
    reached = value is not None and value >= asked
    return f"| {name} | {asked:g} | {value:.4f}{said}, {'reached' if reached else 'MISSED'} |"


def _causes(count: Mapping[str, int]) -> str:
    return ", ".join(f"{cause} {n}" for cause, n in sorted(count.items(), key=lambda c: -c[1]))


def _share(found: Mapping[str, Any]) -> str:
    if found["accuracy"] is None:
        return "-"
    return f"{_percent(found['accuracy'])} ({_percent(found['low'])} to {_percent(found['high'])})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
