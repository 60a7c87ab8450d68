"""Boxes and times of texts as a model family writes them. Pure rewriting of the paper's text, numbers included.

paper    `frame3:[250,125,750,375]`, thousandths of the upright frame per axis; `0.35 s`
qwen     Qwen3-VL: thousandths as JSON `frame3:{"bbox_2d": [250, 125, 750, 375]}` (QwenLM/Qwen3-VL cookbooks/
         2d_grounding.ipynb); times as its processor prompts them, `<0.3 seconds>` (transformers 5.18.0,
         processing_qwen3_vl.py), counted from the film's beginning
qwen2.5  Qwen2.5-VL: the same JSON in pixels of the picture as resized for the model (QwenLM/Qwen3-VL#940, #1427;
         qwen-vl-utils 0.0.14 `fetch_video`, `smart_resize`, its default limits)
molmo    Molmo2: centres, thousandths, three digits at least, beside times to a tenth of a second and the subject's
         number: `<tracks coords="0.3 1 500 250;0.5 1 510 255">small red circle</tracks>`, `<points ...>` for one
         (arXiv 2601.10611, appendix; the model card's own regular expressions read it)
llava    shares to two decimals, `frame3:[0.25, 0.13, 0.75, 0.38]` (LLaVA-1.5's instruction data,
         haotian-liu/LLaVA#606), of the frame, which the video towers stretch and do not pad; times `0.35s`, as
         LLaVA-NeXT's add_time_instruction
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from stages.algorithms.asking import BOX_FORMAT, TRACK_FORMAT

BOX = re.compile(r"frame(\d+):\[(\d+),(\d+),(\d+),(\d+)\]")
TRACK = re.compile(r"Track(\d+): ([^<]*)<id\1>([^<]*)</id\1>")
TIME = re.compile(r"\b(\d+\.\d\d) s\b")
EXAMPLE = "frame1:[x1,y1,x2,y2]"
SOMEBODY = "subject"  # what Molmo's coordinates are called where the question does not say the name
QWEN_PATCH = 28  # Qwen2.5-VL: 14 pixels, merged in twos
QWEN_MIN_TOKENS, QWEN_MAX_TOKENS, QWEN_SEQUENCE = 128, 768, 128_000
QWEN_BUDGET = 0.9  # of the sequence, for a film

Numbers = tuple[int, int, int, int]  # thousandths


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What a text's numbers refer to."""

    width_px: int
    height_px: int
    times: Sequence[str]  # of the frames shown, as the paper's text has them: "0.35 s"


class Merged(ValueError):
    """Two things that differ would be written alike."""


FORMATS = ("paper", "qwen", "qwen2.5", "molmo", "llava")


def written(text: str, form: str, picture: Picture) -> str:
    """The text in a family's format."""
    if form == "molmo":
        text = text.replace(TRACK_FORMAT, 'Write tracks as <tracks coords="time id x y;time id x y">name</tracks>.')
        text = text.replace(BOX_FORMAT, 'Write points as <points coords="time id x y">name</points>.')
        text = TRACK.sub(lambda m: _molmo_track(m, picture), text)
        return TIME.sub(_TIMES[form], BOX.sub(lambda m: _molmo_points("points", "1", SOMEBODY, [m], picture), text))
    if form != "paper":
        text = text.replace(
            EXAMPLE, {"llava": "frame1:[x1, y1, x2, y2]"}.get(form, 'frame1:{"bbox_2d": [x1, y1, x2, y2]}')
        )
        text = BOX.sub(lambda m: f"frame{m[1]}:{box_written(_numbers(m), form, picture)}", text)
    return TIME.sub(_TIMES[form], text)


def box_written(box: Numbers, form: str, picture: Picture) -> str:
    """A box without its frame. Molmo's is the centre."""
    if form == "paper":
        return f"[{','.join(map(str, box))}]"
    if form == "llava":
        return f"[{', '.join(f'{_rounded(v, 3, 2)}' for v in box)}]"
    if form == "molmo":
        return " ".join(f"{(box[k] + box[k + 2] + 1) // 2:03d}" for k in (0, 1))
    if form == "qwen2.5":
        width, height = qwen_size(picture.width_px, picture.height_px, len(picture.times))
        box = tuple(round(v * side / 1000) for v, side in zip(box, (width, height) * 2, strict=True))  # pyright: ignore[reportAssignmentType]
    return f'{{"bbox_2d": [{", ".join(map(str, box))}]}}'


def reward_written(reward: Mapping[str, Any], form: str, picture: Picture) -> dict[str, Any]:
    """The reward of a text that is written so; boxes keep their place, whatever brackets are around them."""
    value = reward["value"]
    if reward["kind"] == "iou":
        boxes = {frame: box_written(numbers_of(text), form, picture) for frame, text in value.items()}
        value = {frame: re.sub(r".*(\[.*\]).*", r"\1", text) for frame, text in boxes.items()}
    elif reward["kind"] == "exact":
        value = written(value, form, picture)
    return {**reward, "value": value}


def check_distinct(text: str, form: str, picture: Picture, boxes: Mapping[int, Sequence[Numbers]]) -> None:
    """Raises Merged where two times of frames, or two subjects' boxes at a frame, would be written alike.

    `boxes`: of all subjects, by frame.
    """
    has_box = BOX.search(text) is not None
    has_time = TIME.search(text) is not None or (form == "molmo" and has_box)
    if has_time and len({_time(t, form) for t in picture.times}) < len(picture.times):
        raise Merged(f"{len(picture.times)} frames shown lie so near that their times are written alike")
    for frame, found in boxes.items():
        if has_box and len({box_written(b, form, picture) for b in set(found)}) < len(set(found)):
            raise Merged(f"two subjects' boxes at frame{frame} are written alike")


def numbers_of(text: str) -> Numbers:
    """The numbers of the paper's box, "[250,125,750,375]"."""
    x1, y1, x2, y2 = map(int, text.strip("[]").split(","))
    return x1, y1, x2, y2


def qwen_size(width_px: int, height_px: int, n_frames: int) -> tuple[int, int]:
    """Width and height at which Qwen2.5-VL sees a film of so many frames."""
    area = QWEN_PATCH * QWEN_PATCH
    least = QWEN_MIN_TOKENS * area
    most = max(min(QWEN_MAX_TOKENS * area, QWEN_SEQUENCE * area * QWEN_BUDGET / n_frames * 2), int(least * 1.05))
    height, width = (max(QWEN_PATCH, round(side / QWEN_PATCH) * QWEN_PATCH) for side in (height_px, width_px))
    if height * width > most:
        beta = math.sqrt(height_px * width_px / most)
        height, width = (math.floor(side / beta / QWEN_PATCH) * QWEN_PATCH for side in (height_px, width_px))
    elif height * width < least:
        beta = math.sqrt(least / (height_px * width_px))
        height, width = (math.ceil(side * beta / QWEN_PATCH) * QWEN_PATCH for side in (height_px, width_px))
    return width, height


def _rounded(value: int | str, shift: int, places: int) -> Decimal:
    return Decimal(value).scaleb(-shift).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


_TIMES: dict[str, Callable[[re.Match[str]], str]] = {
    "paper": lambda m: m[0],
    "qwen": lambda m: f"<{_rounded(m[1], 0, 1)} seconds>",
    "qwen2.5": lambda m: m[0],
    "molmo": lambda m: f"{_rounded(m[1], 0, 1)} s",
    "llava": lambda m: f"{m[1]}s",
}


def _time(text: str, form: str) -> str:
    return TIME.sub(_TIMES[form], text)


def _numbers(match: re.Match[str]) -> Numbers:
    return int(match[2]), int(match[3]), int(match[4]), int(match[5])


def _molmo_track(match: re.Match[str], picture: Picture) -> str:
    return _molmo_points("tracks", match[1], match[2] or SOMEBODY, list(BOX.finditer(match[3])), picture)


def _molmo_points(tag: str, number: str, name: str, boxes: Sequence[re.Match[str]], picture: Picture) -> str:
    said = [
        f"{_time(picture.times[int(m[1]) - 1], 'molmo').removesuffix(' s')} {number} "
        f"{box_written(_numbers(m), 'molmo', picture)}"
        for m in boxes
    ]
    return f'<{tag} coords="{";".join(said)}">{name}</{tag}>'
