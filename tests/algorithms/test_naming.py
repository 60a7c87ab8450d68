"""Votes of crops over words, and tracks that look like one subject, with numbers that are known."""

import numpy as np
import pytest

from schemas.clip import Detection, Naming, Track
from stages.algorithms.naming import (
    NO_VOTE,
    Border,
    Vote,
    label_risk,
    mean_vector,
    same_subject,
    taken,
    unpacked,
    vote,
)

WORDS = ("car", "bus", "dog")
BORDER = Border(margin=0.4, agreement=0.75)


def _logits(*rows: tuple[float, float, float]) -> np.ndarray:
    """Rows of probabilities."""
    return np.log(np.array(rows))


def test_a_vote_is_the_mean_probability_its_lead_and_who_agrees() -> None:
    found = vote(_logits((0.7, 0.2, 0.1), (0.3, 0.6, 0.1), (0.8, 0.1, 0.1), (0.6, 0.3, 0.1)), WORDS)
    assert (found.word, found.votes, found.agreement) == ("car", 4, 0.75)
    assert found.margin == pytest.approx(0.6 - 0.3)


def test_a_large_logit_does_not_overflow() -> None:
    found = vote(np.array([[1e4, 0.0, -1e4]] * 3), WORDS)
    assert (found.word, found.margin, found.agreement) == ("car", 1.0, 1.0)
    with pytest.raises(FloatingPointError, match="not finite"):
        vote(np.array([[np.nan, 0.0, 1.0]]), WORDS)


def test_of_equal_words_the_first_wins_by_nothing() -> None:
    found = vote(np.zeros((4, 3)), WORDS)
    assert (found.word, found.margin) == ("car", 0.0)
    assert not found.is_sure(BORDER)


def test_nobody_votes_and_nothing_is_said() -> None:
    assert vote(np.empty((0, 3)), WORDS) == NO_VOTE
    assert not NO_VOTE.is_sure(Border(margin=0.0, agreement=0.0))
    with pytest.raises(ValueError, match=r"\['car'\] has no runner-up"):
        vote(np.zeros((3, 1)), WORDS[:1])


@pytest.mark.parametrize(
    ("margin", "agreement", "votes", "is_sure"),
    [(0.4, 0.75, 3, True), (0.39, 1.0, 9, False), (1.0, 0.7, 9, False), (1.0, 1.0, 2, False)],
)
def test_a_word_needs_a_lead_agreement_and_three_votes(
    margin: float, agreement: float, votes: int, is_sure: bool
) -> None:
    assert Vote("car", margin, agreement, votes).is_sure(BORDER) == is_sure


def test_risk_falls_from_the_border_to_certainty_and_is_the_worse_of_both() -> None:
    assert Vote("car", 0.4, 1.0, 5).risk(BORDER) == 1.0
    assert Vote("car", 1.0, 0.75, 5).risk(BORDER) == 1.0
    assert Vote("car", 0.7, 0.9, 5).risk(BORDER) == pytest.approx(0.5)
    assert Vote("car", 0.94, 0.95, 5).risk(BORDER) == pytest.approx(0.2)
    assert Vote("car", 1.0, 1.0, 5).risk(BORDER) == 0.0


def test_names_take_the_place_of_a_label_for_all_its_tracks_or_for_none() -> None:
    labels = ["car", "dog", "car", "dog", ""]
    assert taken(labels, ["taxi", "poodle", None, "hound", "kite"]) == [False, True, False, True, True]
    assert taken([], []) == []


@pytest.mark.parametrize(
    ("label", "name", "voted", "risk"),
    [
        ("", "car", Vote("car", 0.7, 1.0, 5), pytest.approx(0.5)),  # its own word: as sure as the vote
        ("car", "car", Vote("car", 0.4, 0.75, 5), None),  # both say so: nothing speaks against the detector
        ("car", None, Vote("bus", 0.9, 1.0, 5), 1.0),  # it knows the word and says another
        ("car", None, Vote("bus", 0.1, 1.0, 5), None),  # not sure
        ("lorry", None, Vote("bus", 0.9, 1.0, 5), None),  # it was never asked about lorries
    ],
)
def test_what_a_label_risks(label: str, name: str | None, voted: Vote, risk: float | None) -> None:
    assert label_risk(label, name, voted, BORDER, WORDS) == risk


def test_an_embedding_is_the_mean_direction_in_two_bytes_a_number() -> None:
    packed = mean_vector(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32))
    assert len(packed) == 4
    assert unpacked(packed) == pytest.approx([0.5**0.5, 0.5**0.5], abs=1e-3)
    assert mean_vector(np.empty((0, 2), np.float32)) == b""
    assert mean_vector(np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)) == b""


def _track(number: int, first: int, last: int, angle_deg: float | None) -> Track:
    seen = tuple(
        Detection(
            frame=t,
            box_xyxy_px=(0.0, 0.0, 9.0, 9.0),
            label="car",
            score=1.0,
            rgb=(0.0, 0.0, 0.0),
            fill=0.0,
            outline=0.0,
        )
        for t in (first, last)
    )
    angle = np.deg2rad(angle_deg or 0.0)
    vectors_ND = np.array([[np.cos(angle), np.sin(angle)]][: angle_deg is not None], np.float32).reshape(-1, 2)
    naming = Naming(
        word="car", margin=1.0, agreement=1.0, is_taken=False, attributes=(), lookalikes=(), frames=(),
        embedding=mean_vector(vectors_ND), namer="given",
    )  # fmt: skip
    return Track(track_id=number, label="car", observations=seen, naming=naming)


def test_tracks_at_other_times_that_look_alike_may_be_one_subject() -> None:
    tracks = [_track(1, 0, 9, 0.0), _track(2, 5, 12, 1.0), _track(3, 20, 30, 25.0), _track(4, 40, 50, 10.0)]
    found = same_subject(tracks, 0.95)
    # 1 and 2 share frames 5 to 9: two subjects, however alike. 1 and 3 are 25 degrees apart: cosine .91.
    assert {k: [s.track_id for s in v] for k, v in found.items()} == {1: [4], 2: [4], 3: [4], 4: [2, 1, 3]}
    assert [s.similarity for s in found[1]] == pytest.approx([np.cos(np.deg2rad(10))], abs=2e-3)


def test_a_track_within_anothers_life_is_another_subject_and_one_without_crops_is_like_nobody() -> None:
    assert same_subject([_track(1, 0, 30, 0.0), _track(2, 10, 20, 0.0)], 0.5) == {}
    assert same_subject([_track(1, 0, 9, 0.0), _track(2, 9, 20, 0.0)], 0.5) == {}
    assert same_subject([_track(1, 0, 9, None), _track(2, 20, 30, 0.0)], 0.5) == {}
    assert list(same_subject([_track(1, 0, 9, 0.0), _track(2, 10, 20, 0.0)], 0.5)) == [1, 2]
