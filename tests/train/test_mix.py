"""Which samples a mix asks for, and how long each is: every one is taken, or rejected by its name."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.sources import SourceError
from pipeline.train.lengths import measure
from pipeline.train.mix import Candidate, candidates, open_sets, taken
from pipeline.train.recipe import Data, Source
from schemas.sample import Message, PublishedSample
from schemas.train import RejectedSample
from tests.train.sets import Words, sample, write_set


def data(folder: Path, **changed: object) -> Data:
    return Data.model_validate({"mix": {"a": {"path": str(folder)}}, "max_frames": 4, **changed})


def asked(folder: Path, sampling: str = "all", epochs: int = 1, seed: int = 0) -> list[Candidate]:
    mix = {"a": Source(path=str(folder), sampling=sampling, epochs=epochs)}
    return candidates(Data(mix=mix), seed)


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten samples to train on and two that are held out."""
    own = [sample(f"s{k}") for k in range(10)]
    held = [sample(f"v{k}", split="validation") for k in range(2)]
    return write_set(tmp_path_factory.mktemp("set"), [*own, *held])


@pytest.mark.parametrize(
    ("sampling", "chosen"),
    [
        ("all", "abcde"),
        ("first:2", "ab"),
        ("end:2", "de"),
        ("first:50%", "abc"),
        ("end:21%", "de"),
        ("first:9", "abcde"),
        ("first:0", ""),
        ("first:1%", "a"),
        ("random:100%", "abcde"),
    ],
)
def test_numbers_and_shares(sampling: str, chosen: str) -> None:
    assert "".join("abcde"[k] for k in taken("abcde", sampling)) == chosen


def test_a_random_draw_belongs_to_seed_and_id(ten: Path) -> None:
    drawn = [asked(ten, "random:4", seed=seed) for seed in range(4)]
    assert all(len(own) == 4 for own in drawn)
    assert drawn[0] == asked(ten, "random:4", seed=0)
    assert len({tuple(c.sample_id for c in own) for own in drawn}) > 1
    assert set(asked(ten, "random:3")) < set(asked(ten, "random:4"))
    assert {c.sample_id for own in drawn for c in own} <= {f"s{k}" for k in range(10)}


def test_held_out_samples_are_never_asked_for(ten: Path) -> None:
    for sampling in ("all", "first:12", "end:12", "random:12"):
        assert {c.sample_id for c in asked(ten, sampling)} == {f"s{k}" for k in range(10)}


def test_epochs_ask_for_the_same_samples_again(ten: Path) -> None:
    found = asked(ten, "random:4", epochs=3)
    once = asked(ten, "random:4")
    assert found == [replace(c, epoch=epoch) for epoch in range(3) for c in once]


def test_addresses_lead_to_the_samples(ten: Path) -> None:
    import pyarrow.parquet as pq

    for c in asked(ten):
        (row,) = PublishedSample.from_arrow(pq.read_table(ten / c.shard).slice(c.row, 1))
        assert (row.sample_id, row.clip_id) == (c.sample_id, c.clip_id)


def test_sets_that_cannot_be_used_are_refused_by_name(ten: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"data\.mix\.a: .*has no manifest\.json"):
        asked(tmp_path)
    with pytest.raises(SourceError, match=r"data\.mix\.a: .* has no sample of the training split"):
        asked(ten, "first:0")
    write_set(tmp_path / "twice", [sample("s"), replace(sample("s", video="other"), clip_id="x")])
    with pytest.raises(SourceError, match="s stands in data/ twice"):
        asked(tmp_path / "twice")


def lengths_of(
    folder: Path, limit: int = 100, **changed: object
) -> tuple[dict[str, tuple[int, ...]], list[RejectedSample]]:
    own = data(folder, **changed)
    found = candidates(own, 0)
    kept, rejected = measure(found, open_sets(own), Words(), own, limit)
    assert len(kept) + len(rejected) == len(found)
    facts = {m.candidate.sample_id: (m.n_frames, m.length.n_tokens, m.length.n_labels, m.length.n_tiles) for m in kept}
    return facts, rejected


def test_lengths_are_those_of_the_encoder_and_frames_are_bounded(tmp_path: Path) -> None:
    own = [
        sample("film", n_frames=4),
        sample("long", n_frames=9),
        sample("image", n_frames=1),
        sample("text", n_frames=0),
    ]
    facts, rejected = lengths_of(write_set(tmp_path / "set", own))
    assert facts == {"film": (4, 22, 3, 4), "long": (4, 22, 3, 4), "image": (1, 10, 3, 1), "text": (0, 6, 3, 0)}
    assert rejected == []


def test_frames_are_reduced_to_the_most_that_fit(tmp_path: Path) -> None:
    own = [sample("film", n_frames=9, words=3), sample("text", n_frames=0, words=40)]
    folder = write_set(tmp_path / "set", own)
    for limit, n_frames in ((100, 9), (41, 8), (17, 2), (10, 1)):
        facts, rejected = lengths_of(folder, limit, max_frames=9)
        assert facts["film"][0] == n_frames
        assert 6 + 4 * n_frames <= limit < 6 + 4 * (n_frames + 1) or n_frames == 9
    assert [(r.sample_id, r.reason, r.detail, r.step) for r in rejected] == [
        ("text", "too_long", "over 10 tokens of text", None)
    ]
    _, rejected = lengths_of(folder, 9, max_frames=9)
    assert {(r.sample_id, r.detail) for r in rejected} == {
        ("film", "over 9 tokens with one frame"), ("text", "over 9 tokens of text")
    }  # fmt: skip
    _, rejected = lengths_of(folder, 41, max_frames=9, overlong="drop")
    assert ("film", "over 41 tokens with 9 frames") in {(r.sample_id, r.detail) for r in rejected}


def test_what_cannot_be_learned_from_is_rejected_by_its_reason(tmp_path: Path) -> None:
    turns = {
        "mute": (Message(role="user", content="Q"), Message(role="assistant", content=" ")),
        "order": (Message(role="assistant", content="A"), Message(role="user", content="Q")),
        "none": (),
    }
    own = [replace(sample(name), messages=messages) for name, messages in turns.items()]
    lost = sample("lost", video="lost")
    damaged = sample("damaged", video="damaged")
    short = sample("short", video="short")
    folder = write_set(
        tmp_path / "set", [*own, lost, damaged, short, sample("good")], without=[lost.clip_id],
        frames_jpeg={damaged.clip_id: (b"no picture",) * 4, short.clip_id: (b"x",)},
    )  # fmt: skip
    facts, rejected = lengths_of(folder)
    assert list(facts) == ["good"]
    assert {r.sample_id: r.reason for r in rejected} == {
        "mute": "bad_turns", "order": "bad_turns", "none": "bad_turns",
        "lost": "unreadable", "damaged": "unreadable", "short": "unreadable",
    }  # fmt: skip
    details = {r.sample_id: r.detail for r in rejected}
    assert "is not in clips/" in details["lost"]
    assert "cannot identify image" in details["damaged"]
    assert "has 1 frames, its plan 4" in details["short"]


def test_a_row_is_measured_for_all_its_epochs(ten: Path) -> None:
    own = Data(mix={"a": Source(path=str(ten), epochs=3)})
    kept, _ = measure(candidates(own, 0), open_sets(own), Words(), own, 100)
    assert len(kept) == 30
    assert sorted({m.candidate.epoch for m in kept}) == [0, 1, 2]
