"""Watching gives the numbers that a known model must have, on any number of ranks, and leaves training as it was."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from pipeline.publish import publish, split_of
from pipeline.sources import SourceError
from pipeline.train.mix import DataSet
from pipeline.train.probes import CHANGED
from pipeline.train.watch import Watch, undisturbed
from pipeline.train.watch_reads import held_out
from schemas.train import Probe
from tests.publish.builders import facts, make_video, video_id_of
from tests.train.watch_world import COST, Encoder, Model, T, alone, choice_sample, dummy, rank, reads, sample, samples


def by_name(probes: list[Probe]) -> dict[tuple[str, str], tuple[float, int]]:
    return {(p.name, p.family): (p.value, p.n) for p in probes}


def test_numbers_are_those_of_a_model_that_is_known():
    found = by_name(alone([sample("a0"), sample("a1", answer="It stands still there.")]).probes)
    n_labels = (4 + 1, 4 + 1)  # words and end mark
    assert found["loss", "caption"] == (pytest.approx(COST["video"]), 2)
    assert found["ppl", "all"] == (pytest.approx(np.e), 2)
    single = np.mean([t / 10 for t in range(T)])
    assert found["tpl", "all"] == (pytest.approx(np.mean(n_labels) * single, rel=1e-5), 2)
    for name in CHANGED:
        assert found[name, "caption"] == (pytest.approx(5 * (COST[name] - 1), rel=1e-5), 2)
    assert ("accuracy", "caption") not in found


def test_pictures_and_bare_texts_have_a_loss_and_no_frames_to_change():
    found = by_name(alone([sample("c1", uri="", frame_tick=()), sample("c2", uri="a.png", frame_tick=(0,))]).probes)
    assert {name for name, _ in found} == {"loss", "ppl"}
    assert found["loss", "all"] == (pytest.approx(1.0), 2)


def test_the_likeliest_option_is_right_where_the_model_knows_it():
    known, asked = choice_sample("b0"), [choice_sample("b0"), choice_sample("b1", "(B) up right.")]
    found = by_name(alone([known]).probes)
    assert found["accuracy", "direction"] == (1.0, 1)
    assert found["chance", "direction"] == (0.25, 1)
    misled = Model([choice_sample("b0", "(A) down left."), asked[1]])
    watched = Watch(asked, reads())(0, misled, nn.Linear(1, 1))
    assert by_name(watched.probes)["accuracy", "all"] == (0.5, 2)


@pytest.mark.parametrize(
    ("family", "answer", "n"),
    [
        ("where", "In the top left, at frame2:[1,2,3,4].", 9),
        ("when", "From frame1 to frame2, 0.00 s to 0.10 s.", 8),
        ("record", "It is the red circle, moving up left in the centre, and its track is x.", 9),
    ],
)
def test_options_that_an_answer_goes_on_from_are_read_without_an_end(family: str, answer: str, n: int):
    """The model charges 100 nats for an end there: with it the right option could not win."""
    found = by_name(alone([sample("a", family, answer)]).probes)
    assert found["accuracy", family] == (1.0, 1)
    assert found["chance", family] == (pytest.approx(1 / n), 1)


def test_changed_films_are_called_as_the_whole_one_and_single_frames_by_their_number():
    encoder = Encoder()
    Watch([sample("a0")], reads(encoder))(0, Model([sample("a0")]), nn.Linear(1, 1))
    whole = tuple(range(T))
    assert encoder.named[0] == ([0, 1, 2, 3], whole)
    assert encoder.named[1 : T + 1] == [([t], (t,)) for t in range(T)]
    changed = encoder.named[T + 1 :]
    assert [index for _, index in changed] == [whole] * 3
    assert sorted(changed[0][0]) == list(whole)
    assert len(set(changed[1][0])) == 1
    assert changed[2][0] == [0, 0, 2, 2]


def test_of_long_plans_evenly_many_frames_are_shown_under_their_own_numbers():
    encoder, long = Encoder(), sample("a0", frame_tick=tuple(range(100)))
    Watch([long], reads(encoder))(0, Model([long]), nn.Linear(1, 1))
    shown = encoder.named[0][1]
    assert len(shown) == 32
    assert encoder.named[0][0] == list(shown)
    assert encoder.named[-1][1] == shown  # the changed film of as many frames


def test_what_cannot_be_read_is_left_out_and_said():
    options = json.dumps({"kind": "choice", "value": "B", "options": ["down", "up right", "too long"]})
    half = replace(choice_sample("a3"), reward=options)  # is read until its last option
    found = [sample("a0"), sample("a1"), sample("a2", answer="This is too long."), half]
    watched = Watch(found, reads(unreadable=["a1"], micro_tokens=1))(3, Model(found), nn.Linear(1, 1))
    assert [s.sample_id for s in watched.samples] == ["a0"]
    assert [(r.sample_id, r.step, r.reason) for r in watched.rejected] == [
        ("a1", 3, "unreadable"), ("a2", 3, "too_long"), ("a3", 3, "too_long"),
    ]  # fmt: skip
    assert "gone.mp4" in watched.rejected[0].detail


def published(folder: Path, **wanted: int) -> DataSet:
    """A set with so many videos of each split."""
    names = [f"v{k}" for k in range(200)]
    of = {split: [n for n in names if split_of(video_id_of(n)) == split][:count] for split, count in wanted.items()}
    videos = sorted((make_video(name) for several in of.values() for name in several), key=lambda v: v.video_id)
    return DataSet("watch", folder, publish(folder, videos, facts()))


def test_the_watched_samples_are_the_same_draw_of_the_validation_split(tmp_path: Path):
    data_set = published(tmp_path, train=2, validation=3)
    data = pl.read_parquet(tmp_path / "data" / "*.parquet")
    drawn, more = held_out(data_set, 5), held_out(data_set, 10_000)
    assert [s.sample_id for s in drawn] == [s.sample_id for s in more[:5]]
    assert {s.sample_id for s in more} == set(data.filter(pl.col("split") == "validation")["sample_id"])
    assert len({s.clip_id for s in drawn}) > 1
    assert len(more) < len(data)


def test_a_set_without_a_validation_split_is_refused(tmp_path: Path):
    with pytest.raises(SourceError, match="validation split"):
        held_out(published(tmp_path, train=1), 5)


def test_packs_of_any_size_give_the_same():
    found = samples()
    small, large = (Watch(found, reads(micro_tokens=n))(5, Model(found), nn.Linear(1, 1)) for n in (1, 10**6))
    assert [p.name for p in small.probes] == [p.name for p in large.probes]
    assert [p.value for p in small.probes] == pytest.approx([p.value for p in large.probes])


def test_two_ranks_give_exactly_what_one_gives_with_as_many_forwards_on_each(tmp_path: Path):
    """Seven samples: the ranks have different work, and one runs dummies."""
    found = samples()
    store = tmp_path / "store"
    torch.multiprocessing.spawn(rank, args=(2, store, found), nprocs=2)  # type: ignore[attr-defined]
    first, second = (torch.load(tmp_path / f"rank{k}", weights_only=False) for k in range(2))
    one = alone(found)
    assert first == second
    assert first[:2] == (one.probes, one.samples)
    count = Model(found)
    Watch(found, reads(), rank=1, world=2)(5, count, nn.Linear(1, 1))  # no group: only its own forwards
    assert count.forwards < first[2]


def test_a_model_that_diverged_is_seen():
    watched = Watch([sample("a0")], reads())(
        0, lambda pack: 0 * Model([sample("a0")])(pack) + torch.nan, nn.Linear(1, 1)
    )
    assert np.isnan(by_name(watched.probes)["loss", "all"][0])


def losses(*, is_watched: bool) -> list[float]:
    """Of a small network with dropout, watched or not."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    watch, model = Watch(samples(), reads()), Model(samples())
    found = []
    for step in range(4):
        if is_watched:
            watch(step, model, net)
        loss = net(torch.randn(5, 4) + random.random() + np.random.rand()).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return found


def test_watching_does_not_change_training():
    random.seed(0)
    np.random.seed(0)
    bare = losses(is_watched=False)
    random.seed(0)
    np.random.seed(0)
    assert losses(is_watched=True) == bare


def test_modes_and_random_states_are_restored_also_after_an_error():
    net = nn.Sequential(nn.Linear(1, 1), nn.Dropout())
    net.train()
    net[1].eval()  # as a frozen part may be
    torch.manual_seed(0)
    state = torch.get_rng_state()
    modes: list[bool] = []

    def fail() -> None:
        with undisturbed(net):
            modes.extend(m.training for m in net.modules())
            torch.rand(1)
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        fail()
    assert modes == [False] * 3
    assert [m.training for m in net.modules()] == [True, True, False]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()
    assert dummy().n_labels == 0
