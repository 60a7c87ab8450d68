"""The committed scorer: reloaded, it must still know what its card says, and be what brute force says."""

import json

import numpy as np
import pytest
import torch

from pipeline.shapes.examine import skill
from pipeline.shapes.lessons import Lesson, lesson, which
from stages.algorithms.tpl import contexts, target_score
from stages.models.checkpoint import CARD, EMBEDDED, NoScorer, find, revision
from stages.models.load import load_scorer
from stages.models.onevision import OneVision
from stages.models.protocols import Target, TooLong
from stages.models.reference import Reference
from stages.models.transformers_scorer import TransformersScorer
from tests.models.test_onevision import FLOOR

LEAST = {"colour": 0.98, "shape": 0.98, "place": 0.90, "direction": 0.70}  # what the scorer is meant to know
FIXED_SEED = 424_242  # neither trained on nor used for the card


@pytest.fixture(scope="module")
def model() -> OneVision:
    torch.set_num_threads(1)
    return OneVision.load(str(EMBEDDED))


@pytest.fixture(scope="module")
def scorer() -> TransformersScorer:
    return load_scorer("embedded")


@pytest.fixture(scope="module")
def films(model: OneVision) -> list[Lesson]:
    return _films(model, range(24))


def _films(model: OneVision, numbers: range) -> list[Lesson]:
    return [lesson(np.random.default_rng([FIXED_SEED, i]), side_px=model.pixel.side_px, n_frames=8) for i in numbers]


def test_card_is_measured_and_small() -> None:
    card = json.loads((EMBEDDED / CARD).read_text())
    assert card["films"] >= 200
    assert set(card["skill"]) == {"colour", "shape", "place", "direction"}
    assert all(one["tpl_key"] > 0 and one["order_gain"] > 0 for one in card["thresholds"]["bins"])
    assert (EMBEDDED / "model.safetensors").stat().st_size < 3_000_000


@pytest.mark.parametrize("key", ["colour", "shape", "place", "direction"])
def test_card_reaches_what_was_asked_for(key: str) -> None:
    assert json.loads((EMBEDDED / CARD).read_text())["skill"][key] >= LEAST[key]


def test_reloaded_it_knows_what_its_card_says(model: OneVision, films: list[Lesson]) -> None:
    card = json.loads((EMBEDDED / CARD).read_text())["skill"]
    measured = skill(model, films)
    # 24 films hold 20 (direction) to 300 (place) choices: about three standard errors
    slack = {"colour": 0.05, "shape": 0.08, "place": 0.08, "direction": 0.3}
    assert {key: measured[key] for key in card if abs(measured[key] - card[key]) > slack[key]} == {}


def test_a_caption_of_motion_needs_more_than_a_frame_beyond_a_static_text(
    model: OneVision, scorer: TransformersScorer, films: list[Lesson]
) -> None:
    gaps = []
    for film in [*films, *_films(model, range(24, 48))]:  # of 24 films 9 captions are of motion alone
        (caption,) = [c for c in film.conversations if c.kind == "caption"]
        if "stays still" in caption.answer or "appears" in caption.answer:
            continue
        talks = [which(film.scene), caption]
        targets = [Target(t.kind, t.question, t.answer) for t in talks]
        seen = contexts(8, shuffles=0, key="")
        static, moving = (
            target_score(t.target_id, r.token_id, dict(zip(seen, r.logprob, strict=True)), scorer.thresholds)
            for t, r in zip(targets, scorer.watch(film.frames_THWC, film.times).read(targets, seen), strict=True)
        )
        gaps.append(moving.tpl_key - static.tpl_key)
    assert len(gaps) >= 15
    assert np.mean([gap > 0 for gap in gaps]) >= 0.8
    assert np.mean(gaps) > 4 * np.std(gaps) / np.sqrt(len(gaps))


def test_engine_equals_brute_force(scorer: TransformersScorer, films: list[Lesson]) -> None:
    film = films[0]
    seen = contexts(film.scene.n_frames, shuffles=1, key="k")
    talks = film.conversations[:4]
    targets = [Target(t.kind, t.question, t.answer) for t in talks]
    readings = scorer.watch(film.frames_THWC, film.times).read(targets, seen)
    reference = Reference(scorer.family, film.frames_THWC, film.times)
    for target, reading in zip(targets, readings, strict=True):
        for context, logprob in zip(seen, reading.logprob, strict=True):
            truth = reference.logprob(context, target)
            assert np.abs(truth - logprob).max() <= FLOOR


def test_what_is_too_long_is_refused_with_its_length(scorer: TransformersScorer, films: list[Lesson]) -> None:
    film = films[0]
    long = Target("long", "What?", "frame1 " * 9000)
    with pytest.raises(TooLong, match=r"long: \d+ \+ \d+ tokens > 8192"):
        scorer.watch(film.frames_THWC, film.times).read([long], contexts(8, shuffles=0, key=""))


def test_domain_tells_the_world_from_others(scorer: TransformersScorer, films: list[Lesson]) -> None:
    inside = [scorer.card(film.frames_THWC).scorer_domain == "in" for film in films]
    assert np.mean(inside) >= 0.9
    noise = np.random.default_rng(0).integers(0, 255, (8, 96, 96, 3), dtype=np.uint8)
    assert scorer.card(noise).scorer_domain == "out"


def test_a_scorer_is_its_bytes(tmp_path) -> None:
    assert revision("embedded") == revision(str(EMBEDDED))
    with pytest.raises(NoScorer, match=r"lacks config\.json, weights"):
        find(str(tmp_path))
