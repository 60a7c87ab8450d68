"""What does not follow inside one clip or one sample: tracks, spans, captions, questions and answers."""

import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

from pipeline.sealed import Problem, Sealed, short
from pipeline.verify_tracks import track_problems
from schemas.manifest import Manifest
from schemas.sample import Message, PublishedClip, PublishedSample
from stages.algorithms.asking import Program, Rendered, Unanswerable, to_json
from stages.algorithms.compose import difficulty, messages
from stages.algorithms.compose_twins import showing_of
from stages.algorithms.questions import render
from stages.algorithms.rewriting import VIDEO_MARK, follows
from stages.algorithms.scene import MAX_NAMED, Scene, global_caption, timeline
from stages.describe_tracks import DESCRIBER, DescribeTracks

UNFIT = (Unanswerable, ValueError, TypeError, LookupError, ArithmeticError, AttributeError)  # of a program that is none
TRACK_FPS = re.compile(r"DecodeClip\.track_fps = ([\d.]+)")  # as a plan's line says it


def row_problems(data: Sealed) -> Iterator[Problem]:
    """Everything about single clips and samples that does not follow."""
    track_fps = _track_fps(data.manifest)
    is_described_so = f"DescribeTracks.version = {DescribeTracks.version}" in data.manifest.plan
    for clip in data.clips:
        first = data.first_of(clip)
        stands = is_described_so and _camera_stands(data.samples_of.get(clip.clip_id, ()))
        first = first if first and _has_time(first) else None
        yield from track_problems(clip, first, camera_stands=stands, track_fps=track_fps)
        yield from _span_problems(clip, first)
        yield from _caption_problems(clip, first)
    clips = {clip.clip_id: clip for clip in data.clips}
    for sample in data.samples:
        yield from _sample_problems(sample, clips.get(sample.clip_id))


def program_of(sample: PublishedSample) -> Program | None:
    """The sample's program; None where the column holds none."""
    return _program(sample.program)


@lru_cache(maxsize=10_000)  # several checks ask for it
def _program(text: str) -> Program | None:
    try:
        program = json.loads(text)
    except json.JSONDecodeError:
        return None
    return program if isinstance(program, dict) else None


def is_given(sample: PublishedSample) -> bool:
    """Whether the sample came with its video: only such a one has nothing to be proved by."""
    program = program_of(sample)
    return program is not None and program.get("op") == "given"


def _track_fps(manifest: Manifest) -> float | None:
    return next((float(found[1]) for line in manifest.plan if (found := TRACK_FPS.fullmatch(line))), None)


def _has_time(sample: PublishedSample) -> bool:
    return sample.time_base_num > 0 and sample.time_base_den > 0


def _camera_stands(samples: Iterable[PublishedSample]) -> bool:
    """Speeds are compared, and half the speed is shown, only where it does: one such sample tells of its clip."""
    programs = [program_of(sample) or {} for sample in samples]
    return any(p.get("op") == "faster" or (p.get("op"), p.get("kind")) == ("twin", "slowed") for p in programs)


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
    if not _has_time(sample):
        yield Problem(key, f"its time base {sample.time_base_num}/{sample.time_base_den} is none")
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
    except UNFIT as error:
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
        **_said(sample, messages(again), scene),
        "reward": (sample.reward, to_json(again.reward)),
        "evidence": (sample.evidence, to_json({"tracks": list(again.track_ids), "frames": list(again.frames)})),
        "risk": (round(sample.risk, 9), round(again.risk, 9)),
        "difficulty": (sample.difficulty, difficulty(again)),
        **_shown(sample, program, scene, again),
    }


def _said(sample: PublishedSample, rendered: tuple[Message, ...], scene: Scene) -> dict[str, tuple[object, object]]:
    """The composer's words; or others, which must ask for the same and be answered alike."""
    if sample.reworded_by is None:
        return {"messages": (sample.messages, rendered)}
    return {
        "who reworded it": (sample.reworded_by.startswith("mllm/"), True),
        "other words": (follows(sample.messages, rendered, scene.names), None),
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
        "reworded by": (sample.reworded_by, None),
        "twin": (sample.twin, None),
        "twin effect": (sample.twin_effect, None),
        "frame order": (sample.frame_order, None),
        "mirrored": (sample.mirrored, False),
    }


def _scene(sample: PublishedSample, clip: PublishedClip) -> Scene:
    base = (sample.time_base_num, sample.time_base_den)
    return Scene.of(sample.frame_tick, sample.start_tick, base, clip.tracks, clip.events)
