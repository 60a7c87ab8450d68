"""What does not follow between token log-probabilities and the scores that are published of them."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.sealed import Problem, Sealed, short
from schemas.manifest import ScorerFacts
from schemas.sample import PublishedClip, PublishedSample, PublishedScore
from stages.algorithms.tpl import FRAME, REVERSED, SHUFFLED, TEXT, VIDEO, Context, Thresholds, target_score

SCORE_TOLERANCE = 1e-4  # nats: token log-probabilities are stored in float32
KINDS = (VIDEO, TEXT, FRAME, SHUFFLED, REVERSED)  # in the order in which targets are read
PUBLISHED = ("tpl", "tpl_key", "hackability", "verdict")  # of a target's score, in data/
Rows = dict[str, list[PublishedScore]]


def score_problems(data: Sealed) -> Iterator[Problem]:
    """Rows of scores/ that belong to nothing or lack something, and scores that do not follow from them."""
    rows: Rows = defaultdict(list)
    for row in data.scores:
        rows[row.sample_id].append(row)
    owners = _owners(data)
    whole: Rows = {}  # by target: those that a score can be computed from
    for target_id, read in rows.items():
        if target_id not in owners:
            yield Problem(target_id, "has scores, but is no caption, and no sample that is published or dropped")
            continue
        first = next(iter(data.samples_of.get(owners[target_id], ())), None)
        wrong = list(_form_problems(target_id, read, len(first.frame_tick) if first else None))
        yield from wrong
        if not wrong:
            whole[target_id] = sorted(read, key=lambda r: (KINDS.index(r.context), r.frame or 0))
    for clip in data.clips:
        first = data.first_of(clip)
        yield from _caption_problems(clip, rows, whole, _scorers(data, first.scorer if first else None))
    for sample in data.samples:
        yield from _sample_problems(sample, rows, whole, _scorers(data, sample.scorer))


def _owners(data: Sealed) -> dict[str, str]:
    """The clip of each text that may have been scored, by the text's id."""
    clip_ids = {clip.clip_id for clip in data.clips}
    dropped = ((outcome.key, outcome.key.rpartition("-")[0]) for outcome in data.outcomes)
    return {
        **{key: clip_id for key, clip_id in dropped if clip_id in clip_ids},
        **{s.sample_id: s.clip_id for s in data.samples},
        **{_caption_id(clip, caption.kind): clip.clip_id for clip in data.clips for caption in clip.captions},
    }


def _caption_id(clip: PublishedClip, kind: str) -> str:
    return f"{clip.clip_id}/caption/{kind}"


def _form_problems(target_id: str, read: Sequence[PublishedScore], n_frames: int | None) -> Iterator[Problem]:
    """Contexts that are missing, double or unknown, and tokens that are not those of the other contexts."""
    if len({row.token_id for row in read}) != 1:
        yield Problem(target_id, "has other token ids in one context than in another")
    seen = Counter((row.context, row.frame) for row in read)
    n_frames = sum(kind == FRAME for kind, _ in seen) if n_frames is None else n_frames
    orders = sum(kind == SHUFFLED for kind, _ in seen)
    wanted = [(VIDEO, None), (TEXT, None), *((FRAME, k) for k in range(n_frames))]
    if orders:
        wanted += [*((SHUFFLED, k) for k in range(orders)), (REVERSED, None)]
    missing, surplus = Counter(wanted) - seen, seen - Counter(wanted)
    if missing or surplus:
        yield Problem(target_id, f"contexts: missing {short([*missing])}, too many {short([*surplus])}")


def _caption_problems(
    clip: PublishedClip, rows: Rows, whole: Rows, scorers: Sequence[ScorerFacts]
) -> Iterator[Problem]:
    """Caption scores that are not there, or are not those of their token log-probabilities."""
    published = [score.target_id for score in clip.caption_scores]
    wanted = [_caption_id(clip, caption.kind) for caption in clip.captions]
    if published != wanted:
        yield Problem(clip.clip_id, f"caption scores: published of {short(published)}, captions are {short(wanted)}")
    for target_id in {*published, *wanted} - rows.keys():
        yield Problem(target_id, "has a score without token log-probabilities, or the reverse")
    for score in clip.caption_scores:
        if score.target_id in whole:
            yield from _follows(score.target_id, score.to_dict(), whole[score.target_id], scorers)


def _sample_problems(
    sample: PublishedSample, rows: Rows, whole: Rows, scorers: Sequence[ScorerFacts]
) -> Iterator[Problem]:
    key = sample.sample_id
    published = {name: getattr(sample, name) for name in PUBLISHED}
    none = {name for name, value in published.items() if value is None}
    scored = sample.tpl is not None
    may_be_null = {"hackability"} if any(_thresholds(scorers, len(sample.frame_tick))) else {"hackability", "verdict"}
    if none - may_be_null and none != set(PUBLISHED):
        yield Problem(key, f"of tpl, tpl_key, hackability and verdict, null: {', '.join(sorted(none))}")
    elif scored != (key in rows):
        yield Problem(key, "has a score without token log-probabilities, or the reverse")
    elif key in whole:
        yield from _follows(key, published, whole[key], scorers)


def _follows(
    target_id: str, published: dict[str, Any], read: Sequence[PublishedScore], scorers: Sequence[ScorerFacts]
) -> Iterator[Problem]:
    """Where what is published of a score is not what `read` gives under any of the thresholds that it may have."""
    if not scorers:
        yield Problem(target_id, "its scorer is not in the manifest")
        return
    contexts = {Context(row.context, row.frame, ()): np.asarray(row.token_logprob, np.float32) for row in read}
    found: list[list[Problem]] = []
    for limits in _thresholds(scorers, sum(row.context == FRAME for row in read)):
        try:
            again = target_score(target_id, read[0].token_id, contexts, limits).to_dict()
        except FloatingPointError as error:
            yield Problem(target_id, f"its token log-probabilities give no score: {short(error)}")
            return
        found.append(
            [
                Problem(target_id, f"{name}: published {short(value)}, recomputed {short(again[name])}")
                for name, value in published.items()
                if not _close(value, again[name])
            ]
        )
    yield from min(found, key=len)


def _close(a: Any, b: Any) -> bool:
    """Equal, but for SCORE_TOLERANCE in every float."""
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= SCORE_TOLERANCE
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_close, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_close(a[k], b[k]) for k in a)
    return a == b


def _scorers(data: Sealed, scorer: str | None) -> list[ScorerFacts]:
    """The named scorer; all of the manifest where no sample of the clip is left to name one."""
    return [facts for facts in data.manifest.scorers if scorer in (None, facts.scorer)]


def _thresholds(scorers: Sequence[ScorerFacts], n_frames: int) -> list[Thresholds | None]:
    """Those that a score with so many frames may have. None stands for a scorer that is not calibrated for that: its
    scores have no verdict."""
    cards = [json.loads(text) for text in sorted({f.thresholds if f.n_frames == n_frames else "null" for f in scorers})]
    return [None if card is None else Thresholds.from_card(card) for card in cards]
