"""Samples of a built set as conversations about the frames that a trainer's loader shows, or as drops with a reason."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.footage import Film, Footage, Options, film_at, footage_of
from pipeline.formats.read import locate
from pipeline.formats.trainers import Exported
from pipeline.publish import read_manifest
from pipeline.sealed import short
from pipeline.storage import Place
from pipeline.verify import NotADataSet
from pipeline.verify_rows import program_of
from schemas.manifest import Manifest
from schemas.row import Record
from schemas.sample import Drop, PublishedClip, PublishedSample
from schemas.time import grid
from stages.algorithms.answer_formats import Merged, Picture, check_distinct, numbers_of, reward_written, written
from stages.algorithms.asking import to_json
from stages.algorithms.reshow import NotShown, Shown, Views, moved, rerender, views
from stages.algorithms.scene import coordinates
from stages.media.reader import Reader

STAGE = "Export"
R = TypeVar("R", bound=Record)


def export(out: Place, options: Options, reader: Reader, *, videos: str | None = None) -> Iterator[Exported | Drop]:
    """One row or one drop a sample, in the order of the shards. Raises NotADataSet."""
    try:
        manifest = read_manifest(out)
    except (FileNotFoundError, ValueError) as error:
        raise NotADataSet(str(error)) from error
    root = videos or manifest.videos_root or "/"
    clips = {clip.clip_id: clip for clip in _rows(out, manifest, "clips", PublishedClip)}
    samples = _rows(out, manifest, "data", PublishedSample)
    for _, of_video in groupby(samples, key=lambda s: s.video_id):
        film: Film | NotShown | None = None
        for _, of_clip in groupby(of_video, key=lambda s: s.clip_id):
            ours = list(of_clip)
            film = film or film_at(reader, locate(ours[0].uri, root), ours[0].video_id)
            yield from _of_clip(ours, clips.get(ours[0].clip_id), film, manifest, options)


def _rows(out: Place, manifest: Manifest, table: str, row: type[R]) -> Iterator[R]:
    for shard in manifest.shards:
        if shard.table == table:
            try:
                with (out / shard.path).open("rb") as file:
                    yield from row.from_arrow(pq.read_table(file, columns=row.schema().names))
            except (OSError, ValueError, pa.ArrowException) as error:
                raise NotADataSet(f"{out / shard.path}: cannot be read: {error}; run utr verify {out}") from error


def _of_clip(
    samples: Sequence[PublishedSample], clip: PublishedClip | None, film: Film | NotShown, manifest: Manifest,
    options: Options,
) -> Iterator[Exported | Drop]:  # fmt: skip
    try:
        if isinstance(film, NotShown):
            raise film
        footage = footage_of(film, samples[0], options)
    except NotShown as why:
        yield from (_drop(sample, why) for sample in samples)
        return
    seen: Views | NotShown | None = None
    for sample in samples:
        try:
            program = program_of(sample)
            if program is None or "op" not in program:
                raise NotShown("no_program", f"its program is {short(sample.program)}; run utr verify")
            if sample.twin is not None:
                raise NotShown("twin", f"a loader of files shows no {sample.twin} film; train it from the shards")
            if program["op"] == "given":
                yield _given(sample, footage, options)
                continue
            if len(sample.messages) != 2:
                raise NotShown(
                    "not_one_turn", f"{len(sample.messages)} messages; one question and one answer are exported"
                )
            if seen is None:
                seen = _views(sample, clip, footage, manifest, options)
            if isinstance(seen, NotShown):
                raise seen
            assert clip is not None
            yield _again(sample, program, clip, seen, footage, manifest, options)
        except NotShown as why:
            yield _drop(sample, why)


def _views(
    sample: PublishedSample, clip: PublishedClip | None, footage: Footage, manifest: Manifest, options: Options
) -> Views | NotShown:
    if clip is None:
        return NotShown("no_tracks", f"{sample.clip_id} is not in clips/")
    base = (sample.time_base_num, sample.time_base_den)
    step = grid(footage.ticks, float(_parameter(manifest, "DecodeClip.track_fps")), *base)
    grid_tick = tuple(footage.ticks[i] for i in step)
    if not {*sample.frame_tick, *(m.tick for t in clip.tracks for m in t.moments)} <= set(grid_tick):
        return NotShown("grid_unknown", "its tracking frames are not those of the film at the recipe's track_fps")
    # Qwen3-VL's processor counts from the beginning of the file, also where a part of it is shown.
    start = footage.film.packets.ticks[0] if options.boxes == "qwen" else sample.start_tick
    shown = Shown(frame_tick=footage.shown, grid_tick=grid_tick, start_tick=start, time_base=base)
    try:
        return views(shown, clip.tracks, clip.events)
    except NotShown as why:
        return why


def _again(
    sample: PublishedSample, program: Mapping[str, object], clip: PublishedClip, seen: Views, footage: Footage,
    manifest: Manifest, options: Options,
) -> Exported:  # fmt: skip
    max_risk = float(_parameter(manifest, "ComposeSamples.max_risk"))
    try:
        new = moved(program, sample.frame_tick, footage.shown)
        said = rerender(new, seen, clip.tracks, max_risk=max_risk)
    except (KeyError, TypeError, IndexError) as error:
        raise NotShown("no_program", f"its program does not fit its clip: {error!r}; run utr verify") from error
    scene = seen.scenes[0]
    frames = range(1, scene.n_frames + 1)
    facts = footage.film.facts
    picture = Picture(width_px=facts.width_px, height_px=facts.height_px, times=[scene.time(k) for k in frames])
    boxes = {k: [numbers_of(coordinates(t, m)) for t in scene.tracks if (m := scene.at(t, k))] for k in frames}
    try:
        check_distinct(f"{said.question} {said.answer}", options.boxes, picture, boxes)
    except Merged as error:
        raise NotShown("written_alike", str(error)) from error
    return Exported(
        sample_id=sample.sample_id, split=sample.split, location=footage.film.location, span_s=footage.span,
        sampling=options.sampling, question=written(said.question, options.boxes, picture),
        answer=written(said.answer, options.boxes, picture),
        reward=to_json(reward_written(said.reward, options.boxes, picture)), program=to_json(new),
        frame_tick=footage.shown,
    )  # fmt: skip


def _given(sample: PublishedSample, footage: Footage, options: Options) -> Exported:
    """Somebody's words about the whole clip: nothing in them is ours to change."""
    if [m.role for m in sample.messages] != ["user", "assistant"]:
        raise NotShown("not_one_turn", f"{len(sample.messages)} messages; one question and one answer are exported")
    question, answer = (m.content for m in sample.messages)
    return Exported(
        sample_id=sample.sample_id, split=sample.split, location=footage.film.location, span_s=footage.span,
        sampling=options.sampling, question=question.removeprefix("<video>\n"), answer=answer, reward=sample.reward,
        program=sample.program, frame_tick=footage.shown,
    )  # fmt: skip


def _parameter(manifest: Manifest, name: str) -> str:
    found = [line.removeprefix(f"{name} = ") for line in manifest.plan if line.startswith(f"{name} = ")]
    if len(found) != 1:
        raise NotADataSet(f"the manifest does not say {name}; export a set that utr build made")
    return found[0]


def _drop(sample: PublishedSample, why: NotShown) -> Drop:
    return Drop(key=sample.sample_id, stage=STAGE, reason=why.reason, detail=str(why))
