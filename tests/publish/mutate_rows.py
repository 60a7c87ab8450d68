"""Changes between rows: rows that go, come twice or move, names that are exchanged, facts that a whole clip changes."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pipeline.sealed import Sealed
from schemas.sample import PublishedSample, PublishedScore
from tests.publish.mutate_basics import LEAST_S, TICKS_A_SECOND, Rng, off, other, pick, put, ticks_off

SetChange = Callable[[Sealed, Rng], Sealed | None]


def _at(rng: Rng, rows: list[Any]) -> int:
    return int(rng.integers(len(rows)))


def _without(table: str) -> SetChange:
    def changed(data: Sealed, rng: Rng) -> Sealed:
        rows = getattr(data, table)
        return replace(data, **{table: list(put(rows, _at(rng, rows)))})

    return changed


def _twice(table: str) -> SetChange:
    def changed(data: Sealed, rng: Rng) -> Sealed:
        rows = getattr(data, table)
        at = _at(rng, rows)
        return replace(data, **{table: list(put(rows, at, rows[at], rows[at]))})

    return changed


def _sample(change: Callable[[Sealed, PublishedSample, Rng], PublishedSample | None]) -> SetChange:
    """One sample, by what others are."""

    def changed(data: Sealed, rng: Rng) -> Sealed | None:
        at = _at(rng, data.samples)
        sample = change(data, data.samples[at], rng)
        return None if sample is None else replace(data, samples=list(put(data.samples, at, sample)))

    return changed


def _clip_wide(change: Callable[[PublishedSample, Rng], dict[str, Any]]) -> SetChange:
    """All samples of one clip agree on another fact."""

    def changed(data: Sealed, rng: Rng) -> Sealed:
        first = data.samples_of[str(pick(rng, sorted(data.samples_of)))][0]
        new = change(first, rng)
        return replace(data, samples=[replace(s, **new) if s.clip_id == first.clip_id else s for s in data.samples])

    return changed


def _video_wide(field: str, change: Callable[[Sealed, PublishedSample, Rng], str]) -> SetChange:
    """All samples of one video agree on another fact."""

    def changed(data: Sealed, rng: Rng) -> Sealed:
        chosen = data.samples[_at(rng, data.samples)]
        new = {field: change(data, chosen, rng)}
        return replace(data, samples=[replace(s, **new) if s.video_id == chosen.video_id else s for s in data.samples])

    return changed


def _group_of_another(data: Sealed, sample: PublishedSample, rng: Rng) -> PublishedSample | None:
    """The group of another question about the clip. A group of one that gets another name is the same group."""
    groups = sorted({s.group_id for s in data.samples_of[sample.clip_id]})
    group_id = other(rng, groups, sample.group_id)
    return None if group_id is None or "-m" in sample.sample_id + group_id else replace(sample, group_id=group_id)


def _group_of_its_own(data: Sealed, sample: PublishedSample, rng: Rng) -> PublishedSample | None:
    """Out of a group of several."""
    size = sum(s.group_id == sample.group_id for s in data.samples_of[sample.clip_id])
    return replace(sample, group_id=f"{sample.clip_id}-g900") if size > 1 else None


def _to_another_clip(data: Sealed, sample: PublishedSample, rng: Rng) -> PublishedSample | None:
    """All names and facts are those of another clip; the program, and what is said, stay."""
    host = data.samples_of[str(other(rng, sorted(data.samples_of), sample.clip_id))][0]
    names = ("video_id", "clip_id", "uri", "start_tick", "end_tick", "time_base_num", "time_base_den", "frame_tick",
             "scorer", "scorer_domain", "split")  # fmt: skip
    ids = {name: getattr(sample, name).replace(sample.clip_id, host.clip_id) for name in ("sample_id", "group_id")}
    return replace(sample, **{name: getattr(host, name) for name in names}, **ids)


def _clip_id_of_another(data: Sealed, sample: PublishedSample, rng: Rng) -> PublishedSample:
    return replace(sample, clip_id=str(other(rng, sorted(data.samples_of), sample.clip_id)))


def _exchanged(*fields: str, of_one_clip: bool) -> SetChange:
    """Two samples exchange fields in which they differ."""

    def changed(data: Sealed, rng: Rng) -> Sealed | None:
        i = _at(rng, data.samples)
        one = data.samples[i]
        able = [k for k, s in enumerate(data.samples) if (s.clip_id == one.clip_id) == of_one_clip and s != one]
        j = pick(rng, able)
        if j is None or all(getattr(one, f) == getattr(data.samples[j], f) for f in fields):
            return None
        two = data.samples[j]
        values = [{f: getattr(s, f) for f in fields} for s in (two, one)]
        samples = put(data.samples, i, replace(one, **values[0]))
        return replace(data, samples=list(put(samples, j, replace(two, **values[1]))))

    return changed


def _names_of_groups(data: Sealed, rng: Rng) -> Sealed | None:
    """Two samples of different groups exchange their numbers."""
    changed = _exchanged("sample_id", of_one_clip=True)(data, rng)
    if changed is None:
        return None
    before = {s.sample_id: s.group_id for s in data.samples}
    return changed if any(before[s.sample_id] != s.group_id for s in changed.samples) else None


def _sample_and_its_scores(data: Sealed, rng: Rng) -> Sealed:
    gone = data.samples[_at(rng, data.samples)]
    return replace(
        data,
        samples=[s for s in data.samples if s is not gone],
        scores=[row for row in data.scores if row.sample_id != gone.sample_id],
    )


def _clip_and_all_of_it(data: Sealed, rng: Rng) -> Sealed:
    gone = data.clips[_at(rng, data.clips)].clip_id
    return replace(
        data,
        clips=[c for c in data.clips if c.clip_id != gone],
        samples=[s for s in data.samples if s.clip_id != gone],
        scores=[row for row in data.scores if not row.sample_id.startswith(gone)],
        outcomes=[o for o in data.outcomes if not o.key.startswith(gone)],
    )


def _clip_renamed(data: Sealed, rng: Rng) -> Sealed:
    at = _at(rng, data.clips)
    clip_id = data.clips[at].clip_id.replace("-p00", "-p07")
    return replace(data, clips=list(put(data.clips, at, replace(data.clips[at], clip_id=clip_id))))


def _contents_of_clips(*fields: str) -> SetChange:
    """Two clips exchange contents."""

    def changed(data: Sealed, rng: Rng) -> Sealed | None:
        i, j = (int(k) for k in rng.choice(len(data.clips), 2, replace=False))
        one, two = data.clips[i], data.clips[j]
        values = [{f: getattr(c, f) for f in fields} for c in (two, one)]
        if values[0] == values[1]:
            return None
        clips = put(data.clips, i, replace(one, **values[0]))
        return replace(data, clips=list(put(clips, j, replace(two, **values[1]))))

    return changed


def _outcome(field: str, new: Callable[[str], str]) -> SetChange:
    def changed(data: Sealed, rng: Rng) -> Sealed:
        at = _at(rng, data.outcomes)
        outcome = data.outcomes[at]
        outcomes = put(data.outcomes, at, replace(outcome, **{field: new(getattr(outcome, field))}))
        return replace(data, outcomes=list(outcomes))

    return changed


def _log_probability(data: Sealed, rng: Rng) -> Sealed:
    """Of one token in one context, by at least a hundredth of a nat for the whole text."""
    at = _at(rng, data.scores)
    row = data.scores[at]
    k = _at(rng, list(row.token_logprob))
    tokens = put(row.token_logprob, k, type(row.token_logprob[k])(row.token_logprob[k] + off(rng, 0.1, 0.5)))
    return replace(data, scores=list(put(data.scores, at, replace(row, token_logprob=tokens))))


def _uri_of_one_of_two(data: Sealed, rng: Rng) -> Sealed | None:
    changed = _clip_wide(lambda s, rng: {"uri": f"other-{s.uri}"})(data, rng)
    assert changed is not None  # there is a clip
    gone = {s.uri for s in data.samples} - {s.uri for s in changed.samples}
    return None if gone else changed  # the only clip of its film: that is another kind


def _group_of_another_clip(data: Sealed, sample: PublishedSample, rng: Rng) -> PublishedSample:
    host = data.samples_of[str(other(rng, sorted(data.samples_of), sample.clip_id))]
    return replace(sample, group_id=host[0].group_id)


def _said_to_be_given(data: Sealed, sample: PublishedSample, rng: Rng) -> PublishedSample | None:
    """All columns say that it came with its video, as the user's words, which nothing proves."""
    if sample.family == "given" or len(sample.messages) != 2:
        return None
    reward = json.dumps({"kind": "exact", "value": sample.messages[1].content}, sort_keys=True, separators=(",", ":"))
    return replace(
        sample, family="given", describer="manifest", program='{"op":"given","source":"manifest"}', reward=reward,
        direction="question->answer", answer_type="text", evidence='{"frames":[],"tracks":[]}', risk=0.0,
        difficulty=None, twin=None, twin_effect=None, frame_order=None, mirrored=False,
    )  # fmt: skip


def _seconds_off(rng: Rng) -> int:
    """Ticks, up to a second to either side."""
    return round(off(rng, LEAST_S, 1.0) * TICKS_A_SECOND)


def _score(change: Callable[[PublishedScore, Rng], PublishedScore]) -> SetChange:
    def changed(data: Sealed, rng: Rng) -> Sealed:
        at = _at(rng, data.scores)
        return replace(data, scores=list(put(data.scores, at, change(data.scores[at], rng))))

    return changed


def _other_video(data: Sealed, sample: PublishedSample, rng: Rng) -> str:
    return str(other(rng, sorted({s.uri for s in data.samples}), sample.uri))


SET_CHANGES: dict[str, SetChange] = {
    "clip: start_tick": _clip_wide(lambda s, rng: {"start_tick": s.start_tick + _seconds_off(rng)}),
    "clip: end_tick": _clip_wide(lambda s, rng: {"end_tick": s.end_tick + _seconds_off(rng)}),
    "clip: time base": _clip_wide(lambda s, rng: {"time_base_den": int(rng.choice([1000, 30_000, 45_000, 180_000]))}),
    "clip: time base num": _clip_wide(lambda s, rng: {"time_base_num": int(rng.integers(2, 9))}),
    "clip: a frame tick": _clip_wide(
        lambda s, rng: {"frame_tick": put(s.frame_tick, k := int(rng.integers(8)), s.frame_tick[k] + ticks_off(rng))}
    ),
    "clip: a frame less": _clip_wide(lambda s, rng: {"frame_tick": put(s.frame_tick, int(rng.integers(8)))}),
    "clip: uri, of a film of two": _uri_of_one_of_two,
    "clip: video_id": _clip_wide(lambda s, rng: {"video_id": f"{int(rng.integers(10**9)):064x}"}),
    "clip: split": _clip_wide(lambda s, rng: {"split": "validation" if s.split == "train" else "train"}),
    "clip: scorer_domain": _clip_wide(lambda s, rng: {"scorer_domain": "out"}),
    "clip: its id": _clip_renamed,
    "clips: tracks exchanged": _contents_of_clips("tracks"),
    "clips: all contents exchanged": _contents_of_clips("tracks", "events", "relations", "captions"),
    "clips: captions exchanged": _contents_of_clips("captions"),
    "video: uri that is no other's": _video_wide("uri", lambda d, s, rng: f"other-{s.uri}"),
    "video: uri of another": _video_wide("uri", _other_video),
    "sample: group of another question": _sample(_group_of_another),
    "sample: a group of its own": _sample(_group_of_its_own),
    "sample: group of another clip": _sample(_group_of_another_clip),
    "sample: said to be given": _sample(_said_to_be_given),
    "sample: video_id": _sample(lambda d, s, rng: replace(s, video_id=f"{int(rng.integers(10**9)):064x}")),
    "sample: clip_id of another": _sample(_clip_id_of_another),
    "sample: moved to another clip": _sample(_to_another_clip),
    "samples: numbers exchanged": _names_of_groups,
    "samples: programs exchanged": _exchanged("program", of_one_clip=True),
    "samples: messages exchanged": _exchanged("messages", of_one_clip=True),
    "samples: rewards exchanged": _exchanged("reward", of_one_clip=True),
    "samples: evidence exchanged": _exchanged("evidence", of_one_clip=True),
    "samples: conversations of two clips exchanged": _exchanged(
        "program", "messages", "reward", "evidence", "family", "direction", "answer_type", of_one_clip=False
    ),
    "sample: dropped": _without("samples"),
    "sample: dropped with its scores": _sample_and_its_scores,
    "sample: doubled": _twice("samples"),
    "clip: dropped": _without("clips"),
    "clip: dropped with all of it": _clip_and_all_of_it,
    "clip: doubled": _twice("clips"),
    "outcome: dropped": _without("outcomes"),
    "outcome: reason": _outcome("reason", lambda old: "too_long"),
    "outcome: uri": _outcome("uri", lambda old: f"other-{old}"),
    "outcome: stage": _outcome("stage", lambda old: "DetectObjects"),
    "outcome: kind": _outcome("kind", lambda old: "failure" if old == "skip" else "skip"),
    "outcome: key": _outcome("key", lambda old: re.sub(r"\d\d$", "77", old)),
    "score: dropped": _without("scores"),
    "score: doubled": _twice("scores"),
    "score: context": _score(lambda row, rng: replace(row, context="text" if row.context != "text" else "video")),
    "score: token ids": _score(lambda row, rng: replace(row, token_id=tuple(t + 1 for t in row.token_id))),
    "score: target": _score(lambda row, rng: replace(row, sample_id=f"{row.sample_id}0")),
    "score: a token's log-probability": _log_probability,
}
