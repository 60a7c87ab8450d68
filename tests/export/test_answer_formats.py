"""Each family's way of writing can be read back: to the last unit where it keeps all, to half of its own unit else."""

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.algorithms.answer_formats import (
    FORMATS,
    Merged,
    Numbers,
    Picture,
    box_written,
    check_distinct,
    qwen_size,
    reward_written,
    written,
)
from stages.algorithms.asking import BOX_FORMAT, TRACK_FORMAT

PICTURE = Picture(width_px=640, height_px=360, times=["0.00 s", "0.35 s", "1.25 s"])
TEXT = (
    "At frame2, 0.35 s, its track is Track1: small red circle<id1>frame1:[0,1,20,300];frame3:[10,500,1000,999]</id1>."
)
KNOWN = {
    "paper": TEXT,
    "qwen": 'At frame2, <0.4 seconds>, its track is Track1: small red circle<id1>frame1:{"bbox_2d": [0, 1, 20, 300]};'
    'frame3:{"bbox_2d": [10, 500, 1000, 999]}</id1>.',
    "qwen2.5": 'At frame2, 0.35 s, its track is Track1: small red circle<id1>frame1:{"bbox_2d": [0, 0, 13, 109]};'
    'frame3:{"bbox_2d": [6, 182, 644, 364]}</id1>.',
    "molmo": 'At frame2, 0.4 s, its track is <tracks coords="0.0 1 010 151;1.3 1 505 750">small red circle</tracks>.',
    "llava": "At frame2, 0.35s, its track is Track1: small red circle<id1>frame1:[0.00, 0.00, 0.02, 0.30];"
    "frame3:[0.01, 0.50, 1.00, 1.00]</id1>.",
}
boxes = st.tuples(*[st.integers(0, 1000)] * 4)


@pytest.mark.parametrize("form", FORMATS)
def test_known_texts(form: str) -> None:
    assert written(TEXT, form, PICTURE) == KNOWN[form]


def _json_box(text: str) -> list[float]:
    return json.loads(text)["bbox_2d"]


def _pixels(text: str) -> list[float]:
    width, height = qwen_size(PICTURE.width_px, PICTURE.height_px, len(PICTURE.times))
    return [1000 * v / side for v, side in zip(_json_box(text), (width, height) * 2, strict=True)]


READ: dict[str, tuple[Callable[[str], list[float]], float]] = {  # how it is read back, and its half unit in thousandths
    "paper": (json.loads, 0),
    "qwen": (_json_box, 0),
    "qwen2.5": (_pixels, 500 / 364 + 0.01),
    "llava": (lambda text: [1000 * v for v in json.loads(text)], 5),
}


@settings(max_examples=200, deadline=None)
@given(box=boxes)
@pytest.mark.parametrize("form", READ)
def test_boxes_round_trip(form: str, box: Numbers) -> None:
    read, half = READ[form]
    found = read(box_written(box, form, PICTURE))
    assert all(abs(a - b) <= half + 1e-6 for a, b in zip(found, box, strict=True))


# The regular expressions of Molmo2's model card.
MOLMO_COORDS = re.compile(r"<(?:points|tracks).*? coords=\"([0-9\t:;, .]+)\"/?>")
MOLMO_FRAMES = re.compile(r"(?:^|\t|:|,|;)([0-9\.]+) ([0-9\. ]+)")
MOLMO_POINTS = re.compile(r"([0-9]+) ([0-9]{3,4}) ([0-9]{3,4})")


@settings(max_examples=200, deadline=None)
@given(box=boxes, frame=st.integers(1, 3))
def test_molmos_card_reads_our_points(box: Numbers, frame: int) -> None:
    text = written(f"At the top, at frame{frame}:[{','.join(map(str, box))}].", "molmo", PICTURE)
    (coordinates,) = MOLMO_COORDS.findall(text)
    ((time, points),) = MOLMO_FRAMES.findall(coordinates)
    ((number, x, y),) = MOLMO_POINTS.findall(points)
    assert number == "1"
    assert float(time) == pytest.approx(float(PICTURE.times[frame - 1].removesuffix(" s")), abs=0.0501)
    assert (int(x), int(y)) == (
        pytest.approx((box[0] + box[2]) / 2, abs=0.5),
        pytest.approx((box[1] + box[3]) / 2, abs=0.5),
    )


@pytest.mark.parametrize("form", FORMATS)
def test_questions_ask_for_the_form(form: str) -> None:
    for sentence in (TRACK_FORMAT, BOX_FORMAT):
        assert (written(sentence, form, PICTURE) == sentence) == (form == "paper")


def test_an_unnamed_track_stays_unnamed() -> None:
    text = written("Which subject has this track? Track7: <id7>frame1:[1,2,3,4]</id7>.", "molmo", PICTURE)
    assert text == 'Which subject has this track? <tracks coords="0.0 7 002 003">subject</tracks>.'


def test_rewards_are_written_as_answers_are() -> None:
    iou = {"kind": "iou", "value": {"3": "[10,500,1000,999]"}}
    assert reward_written(iou, "paper", PICTURE) == iou
    assert reward_written(iou, "llava", PICTURE)["value"] == {"3": "[0.01, 0.50, 1.00, 1.00]"}
    assert reward_written(iou, "qwen", PICTURE)["value"] == {"3": "[10, 500, 1000, 999]"}
    exact = {"kind": "exact", "value": TEXT}
    assert reward_written(exact, "molmo", PICTURE)["value"] == KNOWN["molmo"]
    choice = {"kind": "choice", "value": "A", "options": ["left", "right"]}
    assert reward_written(choice, "qwen", PICTURE) == choice


def test_what_would_be_written_alike_is_refused() -> None:
    near = Picture(width_px=640, height_px=360, times=["0.00 s", "0.04 s"])
    check_distinct("at 0.04 s", "paper", near, {})
    check_distinct("no time", "qwen", near, {})
    for form, text in (("qwen", "at 0.04 s"), ("molmo", "frame1:[1,2,3,4]")):
        with pytest.raises(Merged, match="times"):
            check_distinct(text, form, near, {})
    two = {1: [(500, 500, 600, 600), (501, 500, 600, 600)]}
    check_distinct("frame1:[500,500,600,600]", "qwen", PICTURE, two)
    with pytest.raises(Merged, match="frame1"):
        check_distinct("frame1:[500,500,600,600]", "llava", PICTURE, two)


@pytest.mark.parametrize(
    ("width", "height", "n_frames", "wanted"),
    # qwen-vl-utils 0.0.14, smart_resize with factor 28 and fetch_video's limits
    [(640, 360, 8, (644, 364)), (1920, 1080, 32, (1008, 560)), (64, 64, 8, (336, 336)), (1280, 720, 768, (644, 336))],
)
def test_sizes_that_qwen_sees(width: int, height: int, n_frames: int, wanted: tuple[int, int]) -> None:
    assert qwen_size(width, height, n_frames) == wanted
