"""Samples that make answers guessable are left out when a build is sealed, each with its reason, pairs together."""

import json
import re
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from pipeline.balance import Balanced, find_balance
from pipeline.card import write_card
from pipeline.publish import FinishedVideo, publish
from pipeline.report import write_report
from pipeline.tally import Tally
from schemas.sample import SelectedClip
from stages.algorithms.balance import BalancePlan
from tests.publish.builders import corpus, counted, facts, load_frames, make_clip, video_id_of

ASKS = ("action", "place", "presence")


@pytest.fixture(scope="module")
def clips() -> list[SelectedClip]:
    return [make_clip(video_id_of(f"b{k}")) for k in range(30)]


@pytest.fixture(scope="module")
def found(clips: list[SelectedClip]) -> Balanced:
    balanced = find_balance(clips, ASKS, min_samples=20)
    assert balanced
    return balanced


def test_no_question_named_reads_no_clip_and_changes_nothing() -> None:
    def never():
        raise AssertionError("read")
        yield

    assert find_balance(never(), ()) is None


def test_every_sample_stays_or_has_a_drop_and_pairs_go_together(clips: list[SelectedClip], found: Balanced) -> None:
    after = found.without(clips)
    assert [c.clip_id for c in after] == [c.clip_id for c in clips]
    gone = 0
    for old, new in zip(clips, after, strict=True):
        lost = set(old.selected) - set(new.selected)
        drops = [d for d in new.drops if d.stage == "Balance"]
        assert set(new.selected) < set(old.selected) or not lost
        assert {d.key for d in drops} == lost
        assert {d.reason for d in drops} <= {"imbalance"}
        group = {s.sample_id: s.group_id for s in old.samples}
        assert {group[s] for s in lost}.isdisjoint(group[s] for s in new.selected)
        assert new.samples == old.samples
        gone += len(lost)
    assert found.samples == sum(len(c.selected) for c in clips)
    assert 20 < gone < found.samples / 2


def test_what_stays_is_even(clips: list[SelectedClip], found: Balanced) -> None:
    """Counted in the sentences, not by the code that made the plan."""
    kept = [s for c in found.without(clips) for s in c.samples if s.sample_id in c.selected]
    assert not any(s.family == "absent" for s in kept)  # given away by their wording, all of them
    places = Counter(s.messages[1].content.split(",")[0] for s in kept if s.family == "where" and not s.twin)
    assert places
    assert max(places.values()) <= (1 / 9 + 0.03) * places.total() + 1e-9


def test_the_order_of_the_clips_does_not_matter(clips: list[SelectedClip], found: Balanced) -> None:
    assert find_balance(clips[::-1], ASKS, min_samples=20) == found


def test_a_build_tells_what_was_guessed_before_and_after(tmp_path: Path) -> None:
    videos = corpus(7)
    groups = {s.group_id for v in videos for c in v.clips for s in c.samples if s.family == "direction"}
    plan = BalancePlan(frozenset(groups), ("direction",), (), ("direction",), 3)
    before = find_balance([c for v in videos for c in v.clips], ("place",))
    assert before
    balanced = Balanced(before.before, plan, before.samples)
    tally = Tally(balanced=balanced)
    left = [FinishedVideo(v.video_id, balanced.without(v.clips), v.outcomes) for v in videos]
    manifest = publish(tmp_path, counted(tally, left), facts())
    failures = pl.read_parquet(tmp_path / "failures/*.parquet").filter(pl.col("reason") == "imbalance")
    assert failures.height == sum(len(c.drops) for v in left for c in v.clips) - sum(
        len(c.drops) for v in videos for c in v.clips
    )
    assert failures["detail"].unique().to_list() == ["left out, with its pair, to even the answers of: direction"]
    assert "direction" not in pl.read_parquet(tmp_path / "data/*.parquet")["family"].to_list()
    page = write_report(tmp_path, manifest, tally, load_frames).read_text()
    card = write_card(tmp_path, manifest, tally).read_text()
    line = f"Balanced: direction. {failures.height} of {before.samples} samples were left out"
    assert line in page
    assert line.replace("direction. ", "direction; ") in card
    assert "Still above chance after 3 rounds: direction" in page
    assert page.count(">before</td>") == len(before.before)
    assert "| direction: which way it moves, of the options given | before |" in card
    assert "| direction: which way it moves, of the options given | published |" not in card


def test_figures_of_the_report_are_those_of_the_shards(tmp_path: Path) -> None:
    tally = Tally()
    publish(tmp_path, counted(tally, corpus(7)), facts())
    data = pl.read_parquet(tmp_path / "data/*.parquet")
    letters = Counter(
        json.loads(r)["value"]
        for r in data.filter((pl.col("answer_type") == "choice") & pl.col("twin").is_null())["reward"].to_list()
    )
    (letter,) = [m for m in tally.shortcuts if m.ask == "letter"]
    assert dict(letter.shares) == {k: n / letters.total() for k, n in letters.items()}
    assert letter.blind[0].accuracy == max(letters.values()) / letters.total()
    assert not letter.is_judged
    answers = [m["content"] for row in data["messages"].to_list() for m in row if m["role"] == "assistant"]
    assert tally.answer_tokens == sum(len(re.findall(r"\d+\.\d+|\d+|[a-zA-Z]+", text)) for text in answers)
    assert len(tally.densities) == data["clip_id"].n_unique()
    assert sum(d.planned for d in tally.densities) == tally.planned_frames == 8 * len(tally.densities)
