"""What a scored span becomes on disk: one row a text, and its tokens in every context."""

from schemas.outcome import Outcome
from schemas.pair import PairClip, PairScore, PairTokens, ScoredPairs, Text
from schemas.row import Record
from schemas.sample import TargetEstimate, TargetScore
from stages.algorithms.tpl import HELD, contexts, held
from stages.measure import Measures


def _shared(source: type[Record]) -> list[str]:
    return [name for name in source.schema().names if name in PairScore.schema().names]


PER_TOKEN = [name for name in PairScore.schema().names if name.endswith("_per_token")]
OF_CLIP, OF_TEXT = _shared(PairClip), _shared(Text)
OF_SCORE = list(dict.fromkeys([*_shared(TargetScore), *_shared(TargetEstimate), "n_read"]))
OF_SCORE = [name for name in OF_SCORE if name not in PER_TOKEN]
OF_CLIP = [name for name in OF_CLIP if name not in OF_SCORE]
OF_TEXT = [name for name in OF_TEXT if name not in (*OF_CLIP, *OF_SCORE)]
OF_SCORER = ["dtype", "engine", "prompt_hash", "scorer_domain", "skill", "thresholds"]


def score_rows(clip: ScoredPairs) -> list[PairScore]:
    """One row for each text that has a score or an estimate, in the order of the texts."""
    found = {score.target_id: score for score in (*clip.scores, *clip.estimates)}
    return [_row(clip, text, found[text.pair_id]) for text in clip.texts if text.pair_id in found]


def dropped(clip: ScoredPairs) -> list[Outcome]:
    """The texts that could not be scored: decisions all, since an accident would have taken the whole span."""
    return [
        Outcome(key=d.key, uri=clip.uri, stage=d.stage, kind="skip", reason=d.reason, detail=d.detail)
        for d in clip.drops
    ]


def _row(clip: ScoredPairs, text: Text, score: TargetScore | TargetEstimate) -> PairScore:
    n = len(score.token_id)
    name, _, revision = clip.scorer.scorer.rpartition("@")
    # An estimate has no field for what it does not measure.
    known = {name: getattr(score, name, None) for name in OF_SCORE}
    sums = {name: known[name.removesuffix("_per_token")] for name in PER_TOKEN}
    return PairScore(
        **{name: getattr(clip, name) for name in OF_CLIP},
        **{name: getattr(text, name) for name in OF_TEXT},
        **known,
        **{name: None if value is None else value / n for name, value in sums.items()},
        **{name: getattr(clip.scorer, name) for name in OF_SCORER},
        n_history=len(text.history),
        n_tokens=n,
        budget=clip.budget,
        scorer=name,
        revision=revision,
        floor=clip.floor,
        n_frames=len(clip.frame_tick),
        scorer_frames=clip.scorer.n_frames,
    )


def token_rows(clip: ScoredPairs, measures: Measures) -> list[PairTokens]:
    """One row a text and context; `measures` are those that the texts were read with."""
    n = len(clip.frame_tick)
    seen = contexts(n, shuffles=measures.shuffles, key=clip.clip_id, segments=measures.segments)
    shown = {(c.kind, c.frame): c.index for c in seen}
    return [
        PairTokens(
            pair_id=score.target_id,
            context=c.context,
            frame=c.frame,
            shown=_certified(n, score, c.frame) if c.context == HELD else shown[c.context, c.frame],
            token_id=score.token_id,
            token_logprob=c.token_logprob,
        )
        for score in (*clip.scores, *clip.estimates)
        for c in score.contexts
    ]


def _certified(n_frames: int, score: TargetScore | TargetEstimate, frame: int | None) -> tuple[int, ...]:
    """What a certificate was read with: the film that holds its frames, or one frame alone, which is named then."""
    kept = score.certificate if isinstance(score, TargetScore) else None
    return held(n_frames, kept or ()) if frame is None else (frame,)
