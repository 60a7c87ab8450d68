"""Questions of real composed samples have the right option among theirs; errors are those of drawing clips again."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.publish import publish
from pipeline.train.choices import FAMILIES, choice, likeliest
from pipeline.train.probes import WatchedSample, probes, ratio, readings, standard_error
from schemas.sample import PublishedSample
from tests.publish.builders import facts, make_video
from tests.train.watch_world import choice_sample, sample


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> list[PublishedSample]:
    out = tmp_path_factory.mktemp("set")
    manifest = publish(out, sorted((make_video(f"v{k}", shots=2) for k in range(4)), key=lambda v: v.video_id), facts())
    shards = [out / shard.path for shard in manifest.shards if shard.table == "data"]
    return PublishedSample.from_arrow(pq.read_table(shards))


def test_each_closed_family_has_its_options_and_the_answer_begins_with_the_right_one(composed: list[PublishedSample]):
    asked = {s.sample_id: (s, found) for s in composed if (found := choice(s))}
    assert {s.family for s, _ in asked.values()} == set(FAMILIES)
    for of, found in asked.values():
        answer = of.messages[1].content
        assert answer.startswith(found.answers[found.truth])
        assert (answer == found.answers[found.truth]) != found.goes_on
        assert len(set(found.answers)) == len(found.answers) > 1
        begun = [(a, b) for a in found.answers for b in found.answers if a != b and b.startswith(a)]
        assert not begun, "a beginning is never less likely"


def test_what_is_asked_follows_from_the_row_alone(composed: list[PublishedSample]):
    of = {s.family: s for s in composed if choice(s)}
    assert {family: (found.ask, len(found.answers)) for family, s in of.items() if (found := choice(s))} == {
        "direction": ("letter", 4), "where": ("place", 9), "when": ("span", 8), "record": ("action", 9),
    }  # fmt: skip
    assert [choice(s) for s in composed] == [choice(s) for s in composed]
    assert not any(choice(s) for s in composed if s.family in ("caption", "timeline", "trajectory", "absent"))


def test_no_choice_where_the_question_says_the_answer_or_the_row_is_another_ones():
    record = sample("a", "record", "It is the red circle, moving up in the centre, and its track is x.")
    assert choice(record)
    assert choice(replace(record, program='{"by": "action"}')) is None
    assert choice(choice_sample("a", "B")) is None  # an imported answer in another form
    assert choice(sample("a", "where", "Nobody knows.")) is None


def test_the_cheapest_option_is_the_likeliest():
    assert likeliest([3.0, 1.0, 2.0]) == 1


def test_readings_are_the_same_at_every_step_and_differ_between_samples():
    assert readings(8, "a", None) == readings(8, "a", None)
    films = {tuple(r.context.index for r in readings(8, key, None) if r.name == "shuffled") for key in "abcdef"}
    assert len(films) == 6
    assert [r.name for r in readings(1, "a", None)] == [r.name for r in readings(0, "a", None)] == ["video"]


def watched(rng: np.random.Generator, clip: int, number: int, step: int = 0, shift: float = 0.0) -> WatchedSample:
    base = 5 * np.random.default_rng(clip).normal()  # samples of a clip are alike
    n = int(rng.integers(3, 20))
    return WatchedSample(
        step=step, sample_id=f"{clip}-{number}", clip_id=f"{clip}", n_labels=n, family=("where", "when")[number % 2],
        nll=n * abs(base + rng.normal()) + shift, tpl=base + rng.normal() + shift, shuffled=None, held=1.0,
        neighbour=None, accuracy=float(rng.random() < 0.5), chance=0.25,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["loss", "ppl", "tpl", "accuracy"])
def test_standard_errors_are_those_of_drawing_clips_again(name: str):
    rng = np.random.default_rng(0)
    rows = [watched(rng, clip, k) for clip in range(60) for k in range(4)]
    if name == "ppl":
        rows = [replace(row, nll=row.nll / 20) for row in rows]  # the exponential of a wide spread is no line
    clips = [[r for r in rows if r.clip_id == f"{c}"] for c in range(60)]
    draws = [[r for c in rng.integers(60, size=60) for r in clips[c]] for _ in range(400)]
    spread = np.std([ratio(name, drawn)[0] for drawn in draws])
    assert standard_error(name, rows) == pytest.approx(spread, rel=0.15)


def test_the_error_of_a_change_is_that_of_the_same_samples():
    rng, again = np.random.default_rng(0), np.random.default_rng(0)
    first = [watched(rng, clip, k) for clip in range(20) for k in range(3)]
    last = [watched(again, clip, k, 9, 1.0) for clip in range(20) for k in range(3)]
    assert standard_error("tpl", last, first) == pytest.approx(0.0, abs=1e-9)
    alone = standard_error("tpl", last)
    assert alone
    assert alone > 0.5
    assert standard_error("tpl", first[:3]) is None  # one clip


def test_probes_count_what_they_are_of():
    rng = np.random.default_rng(0)
    rows = [watched(rng, clip, k) for clip in range(3) for k in range(3)]
    found = {(p.name, p.family): p for p in probes(7, rows)}
    assert {p.step for p in found.values()} == {7}
    assert (found["held", "all"].n, found["held", "when"].n, found["held", "where"].n) == (9, 3, 6)
    assert not [key for key in found if key[0] == "shuffled"]
    total = sum(r.nll for r in rows) / sum(r.n_labels for r in rows)
    assert found["loss", "all"].value == pytest.approx(total)
    assert found["ppl", "all"].value == pytest.approx(np.exp(total))
