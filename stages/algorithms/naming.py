"""Words for a track by vote of its crops, and tracks that look like one subject. Vectors in, no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from schemas.clip import Lookalike, Track

MIN_VOTES = 3  # crops: two can agree by chance, or tie; of three one may be wrong
DOUBTED = 1.0  # label risk: the composer abstains from the subject


@dataclass(frozen=True, slots=True)
class Border:
    """From where on a vote is a word. Both belong to one model and vocabulary."""

    margin: float  # of the probability over the runner-up's, mean over the crops
    agreement: float  # share of the crops


@dataclass(frozen=True, slots=True)
class Vote:
    """What the crops of a track say to a vocabulary."""

    word: str
    margin: float
    agreement: float
    votes: int

    def is_sure(self, border: Border) -> bool:
        """Whether there are votes enough, and both numbers reach the border."""
        return self.votes >= MIN_VOTES and self.margin >= border.margin and self.agreement >= border.agreement

    def risk(self, border: Border) -> float:
        """1 on the border, 0 where all crops agree and no other word has a probability; the worse of both."""
        return max(_nearness(self.margin, border.margin), _nearness(self.agreement, border.agreement))


NO_VOTE = Vote("", 0.0, 0.0, 0)


def vote(logits_NV: np.ndarray, words: Sequence[str]) -> Vote:
    """The word with the largest mean softmax probability over N crops, of V words; at least two are needed.

    Margin: how much more of it the word has than the runner-up. Agreement: crops whose own largest it is.
    """
    if len(words) < 2:
        raise ValueError(f"a vote over {list(words)} has no runner-up: give two words at least")
    if len(logits_NV) == 0:
        return NO_VOTE
    logits_NV = np.asarray(logits_NV, float)
    share_NV = np.exp(logits_NV - logits_NV.max(1, keepdims=True))
    share_NV /= share_NV.sum(1, keepdims=True)
    if not np.isfinite(share_NV).all():
        raise FloatingPointError("the probabilities of a vocabulary are not finite")
    mean_V = share_NV.mean(0)
    best, second = (int(k) for k in np.argsort(-mean_V, kind="stable")[:2])
    agreement = float((share_NV.argmax(1) == best).mean())
    return Vote(words[best], float(mean_V[best] - mean_V[second]), agreement, len(share_NV))


def taken(labels: Sequence[str], names: Sequence[str | None]) -> list[bool]:
    """For each track whether its name takes the place of its label: all of one label, or none of them.

    Else a scene would hold a "taxi" beside a "car" that may be a taxi as well, and one of two would be the only one.
    """
    whole = {label: all(n is not None for k, n in zip(labels, names, strict=True) if k == label) for label in labels}
    return [whole[label] for label in labels]


def label_risk(label: str, name: str | None, vote: Vote, border: Border, words: Sequence[str]) -> float | None:
    """Of the label that a track ends up with, `label` the detector's, `name` that which took its place, or None.

    Null where the model says nothing against the label: it agrees, is not sure, or does not know the detector's word.
    """
    if name is not None:
        return None if name == label else vote.risk(border)
    contradicts = label in words and vote.is_sure(border) and vote.word != label
    return DOUBTED if contradicts else None


def same_subject(tracks: Sequence[Track], min_similarity: float) -> Mapping[int, tuple[Lookalike, ...]]:
    """By track_id the tracks that may show the same subject at another time, the most similar first.

    Tracks that share a moment are two subjects. Who was unseen for longer than the tracker's patience comes back as a
    new track, and so does who was cut in two. Nothing is merged: a likeness is no proof.
    """
    found: dict[int, list[Lookalike]] = {}
    vectors = {t.track_id: unpacked(t.naming.embedding) for t in tracks if t.naming and t.naming.embedding}
    for one, two in combinations([t for t in tracks if t.track_id in vectors], 2):
        if _share_a_moment(one, two):
            continue
        similarity = float(vectors[one.track_id] @ vectors[two.track_id])
        if similarity >= min_similarity:
            for a, b in ((one, two), (two, one)):
                found.setdefault(a.track_id, []).append(Lookalike(track_id=b.track_id, similarity=similarity))
    return {k: tuple(sorted(v, key=lambda s: (-s.similarity, s.track_id))) for k, v in found.items()}


def mean_vector(vectors_ND: np.ndarray) -> bytes:
    """The mean of unit vectors, at unit length, float16; b"" of none, or of such that cancel each other."""
    mean_D = vectors_ND.mean(0) if len(vectors_ND) else np.zeros(1)
    length = float(np.linalg.norm(mean_D))
    return (mean_D / length).astype("<f2").tobytes() if length > 0 else b""


def unpacked(embedding: bytes) -> np.ndarray:
    """float32 (D,), unit length."""
    vector_D = np.frombuffer(embedding, "<f2").astype(np.float32)
    return vector_D / np.linalg.norm(vector_D)


def _share_a_moment(one: Track, two: Track) -> bool:
    return max(t.observations[0].frame for t in (one, two)) <= min(t.observations[-1].frame for t in (one, two))


def _nearness(value: float, border: float) -> float:
    return 0.0 if value >= 1 else min(1.0, (1 - value) / (1 - border))
