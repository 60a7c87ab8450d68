"""Right answers get 1, wrong ones less, nonsense 0; nothing that a model says raises."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.algorithms import rewards
from stages.algorithms.answer_formats import Picture, reward_written, written
from stages.algorithms.rewards import overlap, reward
from tests.worlds import worlds

PICTURE = Picture(width_px=128, height_px=128, times=[f"{k * 0.4:.2f} s" for k in range(8)])
KINDS = {"exact", "choice", "iou", "interval_iou"}


@pytest.mark.parametrize("form", ["paper", "qwen", "qwen2.5", "llava"])
def test_every_composed_answer_gets_one(form: str) -> None:
    kinds = set()
    for _, _, samples in worlds(25):
        for sample in samples:
            value = json.loads(sample.reward)
            answer = written(sample.messages[1].content, form, PICTURE)
            assert reward(answer, json.dumps(reward_written(value, form, PICTURE))) == 1.0, (answer, value)
            kinds.add(value["kind"])
    assert kinds == KINDS


def test_another_samples_answer_gets_less() -> None:
    """Answers to the same kind of question about other subjects, frames or times."""
    less = 0
    for _, _, samples in worlds(40):
        for one in samples:
            for other in samples:
                if one.family == other.family != "direction" and one.reward != other.reward:
                    assert reward(other.messages[1].content, one.reward) < 1.0
                    less += 1
    assert less > 100


MUTATED = [
    ("On the left, at frame3:[10,10,30,30].", '{"kind": "iou", "value": {"3": "[10,10,30,30]"}}', 1.0),
    ("On the left, at frame3:[10,10,30,20].", '{"kind": "iou", "value": {"3": "[10,10,30,30]"}}', 0.5),
    ("On the left, at frame4:[10,10,30,30].", '{"kind": "iou", "value": {"3": "[10,10,30,30]"}}', 0.0),
    ("frame3:[10,10,30,30];frame4:[1,1,2,2]", '{"kind": "iou", "value": {"3": "[10,10,30,30]"}}', 0.5),
    ("frame3:[10,10,30,30];frame3:[1,1,2,2]", '{"kind": "iou", "value": {"3": "[10,10,30,30]"}}', 0.0),
    ("frame3:[30,30,10,10]", '{"kind": "iou", "value": {"3": "[10,10,30,30]"}}', 0.0),
    ("frame3:[10,10,30]", '{"kind": "iou", "value": {"3": "[10,10,30,30]"}}', 0.0),
    ('frame3:{"bbox_2d": [10, 10, 30, 30]}', '{"kind": "iou", "value": {"3": "[10, 10, 30, 30]"}}', 1.0),
    ("From frame2 to frame5, 0.10 s to 0.50 s.", '{"kind": "interval_iou", "value": [2, 5]}', 1.0),
    ("From frame2 to frame3.", '{"kind": "interval_iou", "value": [2, 5]}', 0.5),
    ("At frame2.", '{"kind": "interval_iou", "value": [2, 5]}', 0.25),
    ("From frame6 to frame8.", '{"kind": "interval_iou", "value": [2, 5]}', 0.0),
    ("From frame5 to frame2.", '{"kind": "interval_iou", "value": [2, 5]}', 0.0),
    ("From frame1 to frame5 or from frame2 to frame5.", '{"kind": "interval_iou", "value": [2, 5]}', 0.0),
    ("(B) left.", '{"kind": "choice", "value": "B"}', 1.0),
    ("B", '{"kind": "choice", "value": "B"}', 1.0),
    ("b.", '{"kind": "choice", "value": "B"}', 1.0),
    ("(A) right.", '{"kind": "choice", "value": "B"}', 0.0),
    ("(A) (B) (C) (D)", '{"kind": "choice", "value": "B"}', 0.0),
    ("Both", '{"kind": "choice", "value": "B"}', 0.0),
    ("  the SMALL red\ncircle. ", '{"kind": "exact", "value": "The small red circle."}', 1.0),
    ("The small red circle", '{"kind": "exact", "value": "The small red circle."}', 0.0),
]


@pytest.mark.parametrize(("answer", "wanted", "value"), MUTATED)
def test_known_rewards(answer: str, wanted: str, value: float) -> None:
    assert reward(answer, wanted) == pytest.approx(value)


REWARDS = st.sampled_from(
    [
        '{"kind": "iou", "value": {"3": "[10,10,30,30]", "5": "[0,0,1000,1000]"}}',
        '{"kind": "interval_iou", "value": [2, 5]}',
        '{"kind": "choice", "value": "B", "options": ["left", "right"]}',
        '{"kind": "exact", "value": "The circle."}',
    ]
)
TOKENS = ["frame", "frame3", ":", "[", "]", "10", ",", "20", "30.5", "-", "to", "From", "(A)", "(B)", "B", "Track1:"]
TOKENS += [";", "<id1>", ".", "{", "}", '"bbox_2d": ', "999999999999", "²", " ", "\n"]
GARBAGE = st.text() | st.lists(st.sampled_from(TOKENS), max_size=25).map("".join)


@settings(max_examples=500, deadline=None)
@given(answer=GARBAGE, wanted=REWARDS)
def test_no_answer_raises_or_leaves_the_range(answer: str, wanted: str) -> None:
    assert 0.0 <= reward(answer, wanted) <= 1.0


JSON = st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))


@settings(max_examples=100, deadline=None)
@given(text=st.text(), value=JSON)
def test_what_is_no_reward_is_said(text: str, value: object) -> None:
    """A value, or a ValueError: no other error, and no value out of range."""
    for wanted in (text, json.dumps({"kind": value, "value": "x"}), json.dumps({"kind": "iou", "value": value})):
        with suppress(ValueError):
            assert 0.0 <= reward("frame1:[1,2,3,4]", wanted) <= 1.0


@pytest.mark.parametrize(
    "wanted",
    ["", "{}", "[]", "3", '{"kind": "order", "value": []}', '{"kind": "iou", "value": "x"}',
     '{"kind": "choice", "value": 3}',
     '{"kind": "iou", "value": {"1": "[1,2,3]"}}', '{"kind": "interval_iou", "value": [1]}'],
)  # fmt: skip
def test_no_reward_is_an_error(wanted: str) -> None:
    with pytest.raises(ValueError, match="no reward"):
        reward("frame1:[1,2,3,4] (B)", wanted)


@settings(max_examples=300, deadline=None)
@given(*[st.tuples(*[st.floats(0, 1000)] * 4)] * 2)
def test_overlap_is_symmetric_and_bounded(one: rewards.Box, other: rewards.Box) -> None:
    assert overlap(one, one) == 1.0
    assert 0.0 <= overlap(one, other) <= 1.0
    assert overlap(one, other) == pytest.approx(overlap(other, one))


def test_the_file_runs_alone(tmp_path: Path) -> None:
    """As a trainer has it: no package of ours, no library."""
    (tmp_path / "rewards.py").write_text(Path(rewards.__file__).read_text())
    code = 'import rewards; print(rewards.reward(\'(B) left.\', \'{"kind": "choice", "value": "B"}\'))'
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.'); {code}"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "1.0\n"
