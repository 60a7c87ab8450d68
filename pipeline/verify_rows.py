"""What does not follow inside one clip or one sample: boxes, moments, events, captions, questions and answers."""

import json
from collections.abc import Iterator
from itertools import pairwise

from pipeline.sealed import Problem, Sealed, short
from schemas.clip import Trajectory
from schemas.sample import PublishedClip, PublishedSample
from stages.algorithms.asking import Program, Rendered, Unanswerable, to_json
from stages.algorithms.compose import difficulty, messages
from stages.algorithms.compose_twins import showing_of
from stages.algorithms.describe import place
from stages.algorithms.events import ENDS, STARTS, end_of, happenings, relations
from stages.algorithms.questions import render
from stages.algorithms.scene import MAX_NAMED, Scene, global_caption, timeline
from stages.describe_tracks import DESCRIBER

VIDEO_MARK = "<video>\n"


def row_problems(data: Sealed) -> Iterator[Problem]:
    """Everything about single clips and samples that does not follow."""
    for clip in data.clips:
        yield from _track_problems(clip)
        yield from _event_problems(clip, data.first_of(clip))
        yield from _span_problems(clip, data.first_of(clip))
        yield from _caption_problems(clip, data.first_of(clip))
    clips = {clip.clip_id: clip for clip in data.clips}
    for sample in data.samples:
        yield from _sample_problems(sample, clips.get(sample.clip_id))


def program_of(sample: PublishedSample) -> Program | None:
    """The sample's program; None where the column holds none."""
    try:
        program = json.loads(sample.program)
    except json.JSONDecodeError:
        return None
    return program if isinstance(program, dict) else None


def is_given(sample: PublishedSample) -> bool:
    """Whether the sample came with its video: only such a one has nothing to be proved by."""
    program = program_of(sample)
    return program is not None and program.get("op") == "given"


def _track_problems(clip: PublishedClip) -> Iterator[Problem]:
    ids = [track.track_id for track in clip.tracks]
    if len(set(ids)) != len(ids):
        yield Problem(clip.clip_id, f"track ids {ids} are not unique")
    if len({(track.frame_width_px, track.frame_height_px) for track in clip.tracks}) > 1:
        yield Problem(clip.clip_id, "its tracks lie in frames of different sizes")
    for track in clip.tracks:
        ticks = [m.tick for m in track.moments]
        if not ticks or any(b <= a for a, b in pairwise(ticks)):
            yield Problem(clip.clip_id, f"the moments of track {track.track_id} do not ascend")
        yield from _box_problems(clip.clip_id, track)


def _box_problems(clip_id: str, track: Trajectory) -> Iterator[Problem]:
    for m in track.moments:
        where = f"track {track.track_id} at tick {m.tick}"
        x1, y1, x2, y2 = m.box_xyxy_px
        if not (0 <= x1 < x2 <= track.frame_width_px and 0 <= y1 < y2 <= track.frame_height_px):
            yield Problem(clip_id, f"{where}: box {m.box_xyxy_px} is not in the frame")
        elif place(m.box_xyxy_px, track.frame_width_px, track.frame_height_px) != m.location:
            yield Problem(clip_id, f"{where}: box is not at {m.location!r}")


def _event_problems(clip: PublishedClip, sample: PublishedSample | None) -> Iterator[Problem]:
    """Ends that are at no end of their track; changes, meetings and relations that do not follow from the tracks."""
    tracks = {track.track_id: track for track in clip.tracks if track.moments}
    ends = [event for event in clip.events if event.kind in (*STARTS, *ENDS)]
    places = [(event.track_id, event.kind in STARTS) for event in ends]
    if len(set(places)) != len(places):
        yield Problem(clip.clip_id, "a track has two events at one end")
    for event in ends:
        what = f"event {event.kind!r} of track {event.track_id} at tick {event.tick}"
        if event.track_id not in tracks:
            yield Problem(clip.clip_id, f"{what}: there is no such track")
            continue
        track = tracks[event.track_id]
        if event.tick != track.moments[0 if event.kind in STARTS else -1].tick:
            yield Problem(clip.clip_id, f"{what}: not the {'first' if event.kind in STARTS else 'last'} of the track")
        elif event != end_of(track, is_start=event.kind in STARTS):
            yield Problem(clip.clip_id, f"{what}: the box there tells otherwise")
    if sample is None or len(tracks) < len(clip.tracks):
        return
    follow = happenings(clip.tracks, sample.time_base_num / sample.time_base_den)
    told = tuple(event for event in clip.events if event.kind not in (*STARTS, *ENDS))
    if told != follow:
        wrong = [event for event in (*told, *follow) if (event in told) != (event in follow)]
        yield Problem(clip.clip_id, f"events do not follow from the tracks, or not in order: {short(wrong or told)}")
    if clip.relations != relations(clip.tracks):
        yield Problem(clip.clip_id, "its relations do not follow from the tracks")


def _span_problems(clip: PublishedClip, sample: PublishedSample | None) -> Iterator[Problem]:
    """Moments and events outside the clip's span, which its samples tell."""
    if sample is None:
        return
    ticks = [m.tick for track in clip.tracks for m in track.moments] + [event.tick for event in clip.events]
    outside = [t for t in ticks if not sample.start_tick <= t < sample.end_tick]
    if outside:
        span = f"[{sample.start_tick}, {sample.end_tick})"
        yield Problem(clip.clip_id, f"{len(outside)} moments or events lie outside {span}, one at tick {outside[0]}")


def _caption_problems(clip: PublishedClip, sample: PublishedSample | None) -> Iterator[Problem]:
    """Captions that do not follow from the tracks. A given one follows from nothing, and is only known by its kind."""
    for caption in clip.captions:
        if not (_is_given_by(caption.describer) if caption.kind == "given" else caption.describer == DESCRIBER):
            yield Problem(clip.clip_id, f"the {caption.kind} caption is not by {caption.describer!r}")
    if sample is None or not sample.frame_tick:
        return
    scene = _scene(sample, clip)
    if not scene.tracks:
        yield Problem(clip.clip_id, "no planned frame shows any of its tracks")
        return
    follows = {"global": global_caption(scene)}
    if len(scene.tracks) <= MAX_NAMED:
        follows["timeline"] = timeline(scene)
    kinds = [caption.kind for caption in clip.captions]
    if kinds not in ([*follows], [*follows, "given"]):
        yield Problem(clip.clip_id, f"captions: published {kinds}, recomputed {[*follows]}")
    for caption in clip.captions:
        if caption.kind in follows and caption.text != follows[caption.kind]:
            yield Problem(clip.clip_id, f"the {caption.kind} caption does not follow from the tracks")


def _is_given_by(describer: str) -> bool:
    """Whose words may stand without proof: the manifest's, and those of a model that was asked."""
    return describer == "manifest" or describer.startswith("mllm/")


def _sample_problems(sample: PublishedSample, clip: PublishedClip | None) -> Iterator[Problem]:
    """Everything about one sample that does not follow from its program."""
    key, ticks = sample.sample_id, sample.frame_tick
    if clip is None:
        yield Problem(key, f"its clip {sample.clip_id} is not in clips/")
        return
    ascends = bool(ticks) and all(a < b for a, b in pairwise(ticks))
    if not ascends or not sample.start_tick <= ticks[0] <= ticks[-1] < sample.end_tick:
        yield Problem(key, "its frames do not ascend inside the clip")
        return
    program = program_of(sample)
    if program is None:
        yield Problem(key, f"its program is no JSON object: {short(sample.program)}")
        return
    try:
        said = _given(sample) if is_given(sample) else _proof(sample, program, _scene(sample, clip))
    except (Unanswerable, KeyError, TypeError, ValueError) as error:
        yield Problem(key, f"its program has no answer on its clip: {error}")
        return
    for what, (published, recomputed) in said.items():
        if published != recomputed:
            yield Problem(key, f"{what}: published {short(published)}, recomputed {short(recomputed)}")


def _proof(sample: PublishedSample, program: Program, scene: Scene) -> dict[str, tuple[object, object]]:
    """What a composed sample says, and what its program says."""
    again = render(scene, program)
    return {
        "family": (sample.family, program["of"]["op"] if program["op"] == "twin" else program["op"]),
        "describer": (sample.describer, DESCRIBER),
        "direction": (sample.direction, again.direction),
        "answer type": (sample.answer_type, again.answer_type),
        "messages": (sample.messages, messages(again)),
        "reward": (sample.reward, to_json(again.reward)),
        "evidence": (sample.evidence, to_json({"tracks": list(again.track_ids), "frames": list(again.frames)})),
        "risk": (round(sample.risk, 9), round(again.risk, 9)),
        "difficulty": (sample.difficulty, difficulty(again)),
        **_shown(sample, program, scene, again),
    }


def _shown(
    sample: PublishedSample, program: Program, scene: Scene, again: Rendered
) -> dict[str, tuple[object, object]]:
    """How the frames are shown, and whose twin it is."""
    is_twin = program["op"] == "twin"
    shown = showing_of(scene, program) if is_twin else None
    return {
        "twin": (sample.twin, program["kind"] if is_twin else None),
        "twin effect": (sample.twin_effect, again.twin_effect),
        "frame order": (sample.frame_order, shown.order if shown else None),
        "mirrored": (sample.mirrored, shown is not None and shown.mirrored),
    }


def _given(sample: PublishedSample) -> dict[str, tuple[object, object]]:
    """What a sample that came with its video says, and what each such one says. Its reward is its answer."""
    roles, texts = [m.role for m in sample.messages], [m.content for m in sample.messages]
    return {
        "family": (sample.family, "given"),
        "describer": (sample.describer, "manifest"),
        "program": (sample.program, to_json({"op": "given", "source": "manifest"})),
        "direction": (sample.direction, "question->answer"),
        "answer type": (sample.answer_type, "text"),
        "messages": ((roles, [text[: len(VIDEO_MARK)] for text in texts[:1]]), (["user", "assistant"], [VIDEO_MARK])),
        "reward": (sample.reward, to_json({"kind": "exact", "value": texts[-1] if texts else None})),
        "evidence": (sample.evidence, to_json({"tracks": [], "frames": []})),
        "risk": (sample.risk, 0.0),
        "difficulty": (sample.difficulty, None),
        "twin": (sample.twin, None),
        "twin effect": (sample.twin_effect, None),
        "frame order": (sample.frame_order, None),
        "mirrored": (sample.mirrored, False),
    }


def _scene(sample: PublishedSample, clip: PublishedClip) -> Scene:
    base = (sample.time_base_num, sample.time_base_den)
    return Scene.of(sample.frame_tick, sample.start_tick, base, clip.tracks, clip.events)
