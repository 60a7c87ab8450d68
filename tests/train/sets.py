"""Small sealed sets on disk and a fake encoder whose lengths can be counted by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pipeline.publish import DATA_ROWS, PACKED_ROWS, manifest_of
from pipeline.seal_tables import Rows, seal
from pipeline.shards import Limits
from pipeline.train.example import NO_LABEL, Conversation, Example, Length, Pack, Shape
from pipeline.train.lengths import Measured
from pipeline.train.loader import Make
from pipeline.train.mix import Candidate
from schemas.sample import Message, PackedClip, PublishedSample
from stages.media.jpeg import jpeg
from tests.publish.builders import facts, video_id_of

FRAME_TOKENS = 4
SIDE_PX = 16


def sample(name: str, *, video: str = "", n_frames: int = 4, words: int = 3, split: str = "train") -> PublishedSample:
    """A sample of a video (by default its own) with an answer of so many words; no frames: text only."""
    video_id = video_id_of(video or name)
    uri = f"{video or name}.mp4" if n_frames > 1 else f"{video or name}.jpg" if n_frames else ""
    answer = " ".join(["word"] * words)
    return PublishedSample(
        sample_id=name, video_id=video_id, clip_id=f"{video_id[:16]}-t0-{n_frames}", group_id=name, uri=uri,
        start_tick=0, end_tick=n_frames, time_base_num=1, time_base_den=2, frame_tick=tuple(range(n_frames)),
        family="given", direction="question->answer", answer_type="text",
        messages=(Message(role="user", content="<video>\nWhat is it?"), Message(role="assistant", content=answer)),
        program="{}", evidence="{}", reward="{}", tpl=None, tpl_key=None, hackability=None, verdict=None, risk=0.0,
        scorer="", scorer_domain="", describer="test", split=split,
    )  # fmt: skip


def frames_of(sample: PublishedSample) -> np.ndarray:
    """Frame k is of grey level 10 + 20 k."""
    levels = np.arange(len(sample.frame_tick), dtype=np.uint8) * 20 + 10
    return np.broadcast_to(levels[:, None, None, None], (len(levels), SIDE_PX, SIDE_PX, 3)).copy()


def write_set(
    folder: Path,
    samples: Sequence[PublishedSample],
    *,
    frames_jpeg: Mapping[str, tuple[bytes, ...]] | None = None,
    without: Sequence[str] = (),
    shard_bytes: int = 256_000_000,
) -> Path:
    """A sealed set with packed frames; `frames_jpeg` overrides those of some clips, `without` leaves clips out."""
    videos: dict[str, list[PublishedSample]] = {}
    for own in sorted(samples, key=lambda s: (s.video_id, s.sample_id)):
        videos.setdefault(own.video_id, []).append(own)
    limits = Limits(shard_bytes=shard_bytes, row_group_bytes=min(shard_bytes, 64_000_000))

    def groups() -> list[tuple[str, Rows]]:
        return [(video_id, {"data": own, "clips": _clips(own)}) for video_id, own in videos.items()]

    def _clips(own: Sequence[PublishedSample]) -> list[PackedClip]:
        first = {s.clip_id: s for s in own if s.uri and s.clip_id not in without}
        return [_clip(s, (frames_jpeg or {}).get(s.clip_id)) for s in first.values()]

    seal(
        folder, {"data": PublishedSample, "clips": PackedClip}, groups(),
        lambda shards: replace(manifest_of(shards, (), facts()), videos_root=str(folder / "films")),
        limits={
            "data": replace(limits, row_group_rows=DATA_ROWS), "clips": replace(limits, row_group_rows=PACKED_ROWS)
        },
    )  # fmt: skip
    return folder


def _clip(sample: PublishedSample, frames_jpeg: tuple[bytes, ...] | None) -> PackedClip:
    packed = frames_jpeg or tuple(jpeg(f, quality=90) for f in frames_of(sample))
    return PackedClip(
        clip_id=sample.clip_id, tracks=(), events=(), relations=(), captions=(), caption_scores=(), frames_jpeg=packed
    )  # fmt: skip


class Words:
    """Encodes words as tokens: the question's are read, the answer's predicted; a frame is four tokens and one tile."""

    def length(self, turns: tuple[tuple[str, str], ...], shape: Shape | None) -> Length:
        n_frames = len(shape.index) if shape else 0
        asked, said = (sum(len(turn[k].split()) for turn in turns) for k in (0, 1))
        return Length(asked + said + FRAME_TOKENS * n_frames, FRAME_TOKENS * n_frames, said, n_frames)

    def encode(self, conversation: Conversation) -> Example:
        """The first token of a frame is its grey level, so that what was read can be told from the example."""
        media = conversation.media
        levels = [int(frame.mean().round()) for frame in media.frames_THWC] if media else []
        asked, said = (sum(len(turn[k].split()) for turn in conversation.turns) for k in (0, 1))
        ids = [*(i for level in levels for i in (level, 0, 0, 0)), *[1] * asked, *[2] * said]
        label_S = np.array(ids)
        label_S[: len(ids) - said] = NO_LABEL
        return Example(
            conversation.source, conversation.sample_id, conversation.family, np.array(ids), label_S,
            np.arange(len(ids))[None], None,
        )  # fmt: skip


def pack(examples: Sequence[Example]) -> Pack:
    """Examples one behind the other."""
    segments = [np.full(len(e.token_id_S), k) for k, e in enumerate(examples)]
    parts = ([e.token_id_S for e in examples], [e.label_S for e in examples], segments)
    ids, labels, segment = (torch.from_numpy(np.concatenate([*part, np.array([], int)])) for part in parts)
    return Pack(tuple(examples), ids, labels, torch.arange(len(ids))[None], segment)


MAKE = Make(example=Words().encode, pack=pack, dummy=lambda: pack(()))


def measured(
    name: str, *, source: str = "a", clip: str = "", epoch: int = 0, tokens: int = 10, tiles: int = 1
) -> Measured:  # fmt: skip
    """A candidate of which only numbers are known."""
    candidate = Candidate(source, name, clip or name, "data/part-00000.parquet", 0, epoch)
    return Measured(candidate, tiles, Length(tokens, 0, 1, tiles))
