"""Composed answers against what is true of the world, and proof that the comparison can fail."""

from collections import Counter

import pytest

from stages.algorithms import describe, scene
from tests.worlds import lies, worlds


def test_no_composed_answer_lies() -> None:
    judged: Counter[str] = Counter()
    for world, where, samples in worlds(150):
        for sample in samples:
            assert lies(world, where, sample) == [], (sample.sample_id, sample.messages)
            judged[sample.family] += sample.risk <= 0.75
    families = {"record", "trajectory", "when", "where", "direction", "absent", "timeline", "caption"}
    assert set(judged) == families
    assert min(judged.values()) >= 30, judged


def _mirrored(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(w.replace("left", "LEFT").replace("right", "left").replace("LEFT", "right") for w in words)


MUTATIONS = {
    "left for right in motion": (describe, "COMPASS", _mirrored(describe.COMPASS)),
    "left for right in place": (describe, "COLUMNS", _mirrored(describe.COLUMNS)),
    "top for bottom": (describe, "ROWS", describe.ROWS[::-1]),
    "one frame late": (
        scene.Scene,
        "at",
        lambda self, track, frame, at=scene.Scene.at: at(self, track, max(1, frame - 1)),
    ),
    "x for y": (scene, "box_text", lambda box, w, h, text=scene.box_text: text((box[1], box[0], box[3], box[2]), w, h)),
    "half the boxes' scale": (scene, "box_text", lambda box, w, h, text=scene.box_text: text(box, 2 * w, 2 * h)),
    "any subject is absent": (scene, "name", lambda track: "nobody"),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_mutated_composer_is_caught(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holder, attribute, mutant = MUTATIONS[what]
    monkeypatch.setattr(holder, attribute, mutant)
    try:
        found = [lie for world, where, samples in worlds(40) for s in samples for lie in lies(world, where, s)]
    except (KeyError, ValueError, IndexError):
        return  # the mutant contradicts itself: caught, too
    assert found


def test_pairs_share_a_group_and_evidence() -> None:
    pairs = 0
    for _, _, samples in worlds(30):
        groups: dict[str, list] = {}
        for s in samples:
            groups.setdefault(s.group_id, []).append(s)
        for group in groups.values():
            if group[0].family == "record" and len(group) == 2:
                pairs += 1
                assert {s.direction for s in group} == {"spatial->record", "temporal->record"}
                assert group[0].evidence == group[1].evidence
                assert group[0].messages[1] == group[1].messages[1]
    assert pairs >= 20


def test_samples_belong_to_the_clip_not_to_the_order_of_work() -> None:
    assert [s for _, _, samples in worlds(5) for s in samples] == [s for _, _, samples in worlds(5) for s in samples]
