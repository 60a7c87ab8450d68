"""How far does one get without the film? Baselines that read the question alone, and rules that see one frame.

Chance is an even draw among the options. "majority" always gives the most frequent of the options. "n-gram" is a
multinomial logistic regression on the words and pairs of words of the question, tested on videos that it has not
learned from (5 folds). Naive Bayes, which believes each pair anew, stayed under the majority on generated worlds.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import log_softmax

from stages.algorithms.closed import ASKS, NO, Closed
from stages.algorithms.density import WORD
from stages.algorithms.draws import stable_hash

WITHIN = 0.03  # of chance: what counts as none
ROUNDING = 1e-9  # of an accuracy
MIN_SAMPLES = 1_000  # under that the interval of an accuracy near 1/4 is wider than WITHIN: nothing can be told
MAX_DRAWN = 5_000  # samples of a question that are measured: the error of a share is then .6 % at most
MAJORITY, NGRAM = "majority", "n-gram"
FOLDS = 5
MIN_SEEN = 5  # samples that a word or pair must be in to be learned from
MAX_GRAMS = 1_000  # the most frequent: a track's coordinates are thousands
LOSS_WEIGHT = 0.1  # against half the squared weights: of .01, .1 and 1 nowhere far from the best
STEPS = 50  # of the optimiser
NEVER = -1e9  # log of no chance, for what is not among the options
Z = 1.96  # of a 95 % interval


@dataclass(frozen=True, slots=True)
class Baseline:
    name: str
    accuracy: float  # 0..1
    low: float  # its 95 % interval: Wilson's, widened where samples of one video are alike
    high: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What can be guessed of one closed question."""

    ask: str  # of ASKS
    samples: int
    videos: int
    chance: float  # mean over the samples of 1 / options
    shares: tuple[tuple[str, float], ...]  # of each answer, the largest first
    blind: tuple[Baseline, ...]  # majority, and n-gram where there are two videos
    one_frame: tuple[Baseline, ...]  # rules

    @property
    def excess(self) -> float:
        """How far the best blind baseline is above chance."""
        return max(b.accuracy for b in self.blind) - self.chance

    @property
    def is_even(self) -> bool:
        return self.excess <= WITHIN + ROUNDING

    @property
    def is_judged(self) -> bool:
        return self.samples >= MIN_SAMPLES


def measure(questions: Sequence[Closed]) -> tuple[Measured, ...]:
    """Each closed question that is asked, in the order of ASKS. Does not depend on the order of `questions`."""
    found = by_ask(questions)
    return tuple(_measured(found[ask]) for ask in ASKS if ask in found)


def by_ask(questions: Iterable[Closed]) -> dict[str, list[Closed]]:
    """Sorted by sample. Whether there is such a subject is asked only where the answer is not always yes."""
    found: defaultdict[str, list[Closed]] = defaultdict(list)
    for question in sorted(questions, key=lambda q: q.sample_id):
        found[question.ask].append(question)
    return {ask: qs for ask, qs in found.items() if ask != "presence" or any(q.answer == NO for q in qs)}


def drawn(questions: Iterable[Closed], most: int = MAX_DRAWN) -> list[Closed]:
    """At most that many of each ask: those with the lowest hashes, which is a uniform draw, in any order of input."""
    found: defaultdict[str, list[tuple[int, str, Closed]]] = defaultdict(list)
    for q in questions:
        found[q.ask].append((draw_key(q), q.sample_id, q))
    return [q for several in found.values() for _, _, q in sorted(several, key=lambda d: d[:2])[:most]]


def draw_key(question: Closed) -> int:
    return stable_hash(f"shortcuts/{question.sample_id}")


def chance(questions: Sequence[Closed]) -> float:
    allowed = _allowed(questions, answers(questions))
    return float((1 / allowed.sum(1)).mean())


def answers(questions: Sequence[Closed]) -> tuple[str, ...]:
    """All possible answers, sorted."""
    return tuple(sorted({q.answer for q in questions}.union(*(q.options for q in questions))))


def majority(questions: Sequence[Closed]) -> np.ndarray:
    """bool (samples,): where the most frequent of a sample's options is right."""
    known = answers(questions)
    counts = Counter(q.answer for q in questions)
    best: dict[tuple[str, ...], str] = {
        options: max(options or known, key=lambda a: (counts[a], a)) for options in {q.options for q in questions}
    }
    return np.array([best[q.options] == q.answer for q in questions], bool)


def ngram(questions: Sequence[Closed], *, seed: int = 0) -> np.ndarray | None:
    """bool (samples,): where the model of the other folds is right; None where all videos lie in one fold."""
    known = answers(questions)
    fold = np.array([stable_hash(f"fold/{seed}/{q.video_id}") % FOLDS for q in questions])
    if len(set(fold.tolist())) < 2:
        return None
    right = np.array([known.index(q.answer) for q in questions])
    found, _ = grams([q.question for q in questions])
    bars = np.where(_allowed(questions, known), 0.0, NEVER)
    guess = np.empty(len(right), int)
    for k in set(fold.tolist()):
        learn, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        weight_GA, bias_A = _fit(found[learn], right[learn], bars[learn])
        guess[test] = (found[test] @ weight_GA + bias_A + bars[test]).argmax(1)
    return guess == right


def _fit(found: csr_array, right: np.ndarray, bars: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (grams, answers) and bias (answers,) of the most likely model."""
    is_right = np.eye(bars.shape[1])[right]
    n_grams, n_answers = (found.T @ is_right).shape

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight_GA, bias_A = flat[:-n_answers].reshape(n_grams, n_answers), flat[-n_answers:]
        log_share = log_softmax(found @ weight_GA + bias_A + bars, axis=1)
        off = LOSS_WEIGHT * (np.exp(log_share) - is_right)
        slope = np.concatenate([(found.T @ off + weight_GA).ravel(), off.sum(0)])
        return float((weight_GA**2).sum() / 2 - LOSS_WEIGHT * (log_share * is_right).sum()), slope

    flat = minimize(
        loss, np.zeros((n_grams + 1) * n_answers), jac=True, options={"maxiter": STEPS}, method="L-BFGS-B"
    ).x
    return flat[:-n_answers].reshape(n_grams, n_answers), flat[-n_answers:]


def grams(texts: Sequence[str]) -> tuple[csr_array, list[str]]:
    """Which words and pairs of words are in which text: 0/1 (texts, grams), and the grams, sorted."""
    per_text = [words_and_pairs(text) for text in texts]
    seen = Counter(gram for found in per_text for gram in found)
    frequent = sorted((gram for gram, n in seen.items() if n >= MIN_SEEN), key=lambda gram: (-seen[gram], gram))
    known = sorted(frequent[:MAX_GRAMS])
    column = {gram: k for k, gram in enumerate(known)}
    columns = [sorted(column[gram] for gram in found if gram in column) for found in per_text]
    starts = np.cumsum([0, *map(len, columns)])
    flat = np.array([k for found in columns for k in found], int)
    return csr_array((np.ones(len(flat)), flat, starts), shape=(len(texts), len(known))), known


def baseline(name: str, is_right: np.ndarray, video_ids: Sequence[str]) -> Baseline:
    """The accuracy of (samples,) guesses with its interval."""
    n, accuracy = len(is_right), float(is_right.mean())
    video = np.unique(np.asarray(video_ids), return_inverse=True)[1]
    off_by_video = np.bincount(video, is_right - accuracy)
    drawn_apart, spread = accuracy * (1 - accuracy) * n, float((off_by_video**2).sum())
    alike = max(1.0, spread / drawn_apart) if drawn_apart else 1.0  # design effect of clusters
    low, high = _wilson(accuracy, n / alike)
    return Baseline(name, accuracy, low, high)


def _measured(questions: list[Closed]) -> Measured:
    video_ids = [q.video_id for q in questions]
    learned = ngram(questions)
    guesses: defaultdict[str, list[bool]] = defaultdict(list)
    for question in questions:
        for rule, guess in question.guesses:
            guesses[rule].append(guess == question.answer)
    counts = Counter(q.answer for q in questions)
    return Measured(
        ask=questions[0].ask,
        samples=len(questions),
        videos=len(set(video_ids)),
        chance=chance(questions),
        shares=tuple((answer, n / len(questions)) for answer, n in sorted(counts.items(), key=lambda c: (-c[1], c[0]))),
        blind=(
            baseline(MAJORITY, majority(questions), video_ids),
            *(() if learned is None else (baseline(NGRAM, learned, video_ids),)),
        ),
        one_frame=tuple(baseline(rule, np.array(right, bool), video_ids) for rule, right in guesses.items()),
    )


def _allowed(questions: Sequence[Closed], known: Sequence[str]) -> np.ndarray:
    """bool (samples, answers): the options of each."""
    rows = {
        options: np.array([not options or a in options for a in known]) for options in {q.options for q in questions}
    }
    return np.stack([rows[q.options] for q in questions])


def words_and_pairs(text: str) -> set[str]:
    """What the n-gram model reads of a question."""
    words = [word.lower() for word in WORD.findall(text)]
    return {*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))}


def _wilson(share: float, n: float) -> tuple[float, float]:
    middle, half = share + Z * Z / (2 * n), Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + Z * Z / n)), min(1.0, (middle + half) / (1 + Z * Z / n))
