"""The verifier of RL exports: how right an answer is, 0 to 1. Standard library only; exports carry a copy of this file.

    from rewards import reward
    reward("On the left, at frame3:[10,20,30,40].", '{"kind": "iou", "value": {"3": "[10,20,30,40]"}}')  # 1.0

A reward is JSON: {"kind": ..., "value": ...}.
- exact: the text, apart from case and spaces.
- choice: the letter. An answer that names several letters has none right.
- iou: mean IoU of the boxes over the frames that are asked for or said; a frame that is said twice counts 0, so that
  guesses do not pay. Boxes in any unit: IoU is the same in pixels, thousandths and shares, as long as both use one.
- interval_iou: frames in both spans over frames in either, ends included; 0 where several spans are said.
- order: letters in order. 1 where all pairs of them stand right, 0 where half do or fewer, as by guessing, and where
  the letters are not those that are asked for, each once.
- count: the number. An answer with several numbers has none right.
- seconds: likewise; 1 up to `within` off, then less, 0 from twice that on: {"seconds": ..., "within": ...}.
An answer, whatever it holds, never raises; a reward of another kind, or none, raises ValueError.
"""

import json
import re

NUMBER = r"(-?\d{1,9}(?:\.\d{1,9})?)"
BOX = re.compile(rf'frame(\d{{1,9}}):(?:\{{"bbox_2d": )?\[{NUMBER}, ?{NUMBER}, ?{NUMBER}, ?{NUMBER}\]')
NUMBERS = re.compile(NUMBER)
SPAN = re.compile(r"frame(\d{1,9})(?: to frame(\d{1,9}))?(?!:|\d)")
LETTER = re.compile(r"\(([A-Za-z])\)|^\s*([A-Za-z])\s*(?:[.:)]|$)")

Box = tuple[float, float, float, float]


def reward(answer: str, reward_json: str) -> float:
    """0 to 1; raises ValueError where `reward_json` is no reward."""
    try:
        wanted = json.loads(reward_json)
        kind, value = wanted["kind"], wanted["value"]
        return KINDS[kind](answer, value)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no reward: {reward_json[:200]!r}: {type(error).__name__}: {error}") from error


def _exact(answer: str, value: str) -> float:
    return float(" ".join(answer.split()).casefold() == " ".join(value.split()).casefold())


def _choice(answer: str, value: str) -> float:
    return float({(a or b).upper() for a, b in LETTER.findall(answer)} == {value.upper()})


def _iou(answer: str, value: dict[str, str]) -> float:
    wanted = {int(frame): _box(NUMBERS.findall(text)) for frame, text in value.items()}
    said: dict[int, list[Box]] = {}
    for frame, *numbers in BOX.findall(answer):
        said.setdefault(int(frame), []).append(_box(numbers))
    frames = wanted.keys() | said.keys()
    right = [overlap(wanted[k], said[k][0]) for k in wanted if len(said.get(k, ())) == 1]
    return sum(right) / len(frames) if frames else 0.0


def _interval_iou(answer: str, value: list[int]) -> float:
    first, last = value
    spans = {(int(a), int(b or a)) for a, b in SPAN.findall(answer)}
    if len(spans) != 1:
        return 0.0
    ((a, b),) = spans
    both, either = min(b, last) - max(a, first) + 1, max(b, last) - min(a, first) + 1
    return max(0, both) / either if a <= b else 0.0


def _order(answer: str, value: list[str]) -> float:
    if len(value) < 2:
        raise ValueError(f"{value} is no order")
    said = [(a or b).upper() for a, b in LETTER.findall(answer)]
    if sorted(said) != sorted(value) or len(set(value)) != len(value):
        return 0.0
    pairs = [(a, b) for i, a in enumerate(value) for b in value[i + 1 :]]
    right = sum(said.index(a) < said.index(b) for a, b in pairs)
    return max(0.0, 2 * right / len(pairs) - 1)


def _count(answer: str, value: int) -> float:
    return float([float(number) for number in NUMBERS.findall(answer)] == [float(value)])


def _seconds(answer: str, value: dict[str, float]) -> float:
    said = NUMBERS.findall(answer)
    if len(said) != 1:
        return 0.0
    within = float(value["within"])
    return min(1.0, max(0.0, 2.0 - abs(float(said[0]) - value["seconds"]) / within))


def _box(numbers: list[str]) -> Box:
    x1, y1, x2, y2 = map(float, numbers)
    return x1, y1, x2, y2


def overlap(one: Box, other: Box) -> float:
    """IoU of two boxes; equal ones have 1, also where rounding left them no area."""
    if one == other:
        return 1.0
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0 or _area(one) <= 0 or _area(other) <= 0:
        return 0.0
    both = width * height
    return both / (_area(one) + _area(other) - both)


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


KINDS = {
    "exact": _exact,
    "choice": _choice,
    "iou": _iou,
    "interval_iou": _interval_iou,
    "order": _order,
    "count": _count,
    "seconds": _seconds,
}
