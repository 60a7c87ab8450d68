"""What a scored span becomes on disk: one row a text, and its tokens in every context."""

from schemas.outcome import Outcome
from schemas.pair import PairClip, PairScore, PairTokens, ScoredPairs, Text
from schemas.row import Record
from schemas.sample import TargetScore
from stages.algorithms.tpl import HELD, contexts, held
from stages.measure import Measures


def _shared(source: type[Record]) -> list[str]:
    return [name for name in source.schema().names if name in PairScore.schema().names]


OF_CLIP, OF_TEXT, OF_SCORE = _shared(PairClip), _shared(Text), _shared(TargetScore)
OF_CLIP = [name for name in OF_CLIP if name not in OF_SCORE]
OF_TEXT = [name for name in OF_TEXT if name not in (*OF_CLIP, *OF_SCORE)]
OF_SCORER = ["dtype", "engine", "prompt_hash", "scorer_domain", "skill", "thresholds"]


def score_rows(clip: ScoredPairs) -> list[PairScore]:
    """One row for each text that has a score, in the order of the texts."""
    texts = {text.pair_id: text for text in clip.texts}
    return [_row(clip, texts[score.target_id], score) for score in clip.scores]


def dropped(clip: ScoredPairs) -> list[Outcome]:
    """The texts that could not be scored: decisions all, since an accident would have taken the whole span."""
    return [
        Outcome(key=d.key, uri=clip.uri, stage=d.stage, kind="skip", reason=d.reason, detail=d.detail)
        for d in clip.drops
    ]


def _row(clip: ScoredPairs, text: Text, score: TargetScore) -> PairScore:
    n = len(score.token_id)
    name, _, revision = clip.scorer.scorer.rpartition("@")

    def per_token(value: float | None) -> float | None:
        return None if value is None else value / n

    return PairScore(
        **{name: getattr(clip, name) for name in OF_CLIP},
        **{name: getattr(text, name) for name in OF_TEXT},
        **{name: getattr(score, name) for name in OF_SCORE},
        **{name: getattr(clip.scorer, name) for name in OF_SCORER},
        n_history=len(text.history),
        n_tokens=n,
        nll_video_per_token=score.nll_video / n,
        nll_text_per_token=score.nll_text / n,
        static_gain_per_token=score.static_gain / n,
        order_gain_per_token=per_token(score.order_gain),
        reverse_gain_per_token=per_token(score.reverse_gain),
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
        for score in clip.scores
        for c in score.contexts
    ]


def _certified(n_frames: int, score: TargetScore, frame: int | None) -> tuple[int, ...]:
    """What a certificate was read with: the film that holds its frames, or one frame alone, which is named then."""
    return held(n_frames, score.certificate or ()) if frame is None else (frame,)
