"""Films as bad disks leave them: each ends as rows or as an error with its name, and what is accepted is true."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pipeline.collect import Finished, finished
from pipeline.plan import Plan
from pipeline.run_local import run_local
from schemas.clip import DecodedClip
from schemas.video import Source
from stages.decode_clip import DecodeClip
from stages.media.reader import Reader
from stages.probe_video import ProbeVideo
from stages.split_shots import SplitShots
from tests import zoo
from tests.media.mutants import write_mutants

TIMEOUT_S = 60.0  # a mutant takes 0.2 s
MEMORY_GB = 0.5


def built(films: list[Path], store: Path) -> list[Finished]:
    """What becomes of the films, in clips of whole films where nothing else cuts them."""
    sources = [Source(uri=film.name, location=str(film), caption=None, qa=()) for film in films]
    plan = (
        Plan.of(sources, Source)
        .then(ProbeVideo(timeout_s=TIMEOUT_S, memory_gb=MEMORY_GB))
        .then(SplitShots(detector="content", threshold=255.0, min_clip_s=0.3, min_shot_s=0.1, timeout_s=TIMEOUT_S))
        .then(DecodeClip(store_dir=str(store), max_side_px=128, track_fps=25.0, timeout_s=TIMEOUT_S))
    )
    return list(finished(plan, run_local(plan)))


def check(films: list[Path], store: Path, reader: Reader) -> None:
    done = built(films, store)
    assert sorted(video.source_uri for video in done) == sorted(film.name for film in films)
    failures = [outcome for video in done for outcome in video.outcomes if outcome.kind == "failure"]
    assert {outcome.reason for outcome in failures} == {"ReadError"}, "a decoder hung, crashed or was refused"
    assert all(outcome.uri in outcome.detail for outcome in failures)
    clips = [clip for video in done for clip in DecodedClip.from_arrow(video.rows)]
    assert clips
    assert all(video.outcomes or video.rows.num_rows for video in done)
    assert [clip.uri for clip in clips if not _is_true(clip, reader)] == []


def _is_true(clip: DecodedClip, reader: Reader) -> bool:
    """Whether every frame that the packets promise decodes and, where damage can be seen, is shown in its turn."""
    ticks = [t for t in reader.packets(clip.location).ticks if clip.start_tick <= t < clip.end_tick]
    frames_THWC = reader.frames(clip.location, ticks, clip.width_px, clip.height_px)
    # VP9 decodes damage without a word; in a .ts a packet whose start is overwritten is passed over, likewise.
    if clip.uri.endswith((".ts", ".webm")):
        return len(frames_THWC) == len(ticks)
    upright_THWC = np.rot90(frames_THWC, clip.rotation_deg // 90, axes=(1, 2))  # the turn may be what was flipped
    numbers = [zoo.number_of(frame) for frame in upright_THWC]
    return len(numbers) == len(ticks) and all(a < b for a, b in pairwise(numbers))


def test_mutants_end_by_name_or_decode_to_what_their_packets_say(tmp_path: Path, reader: Reader) -> None:
    check(write_mutants(tmp_path / "films", 32), tmp_path / "store", reader)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2])
def test_300_mutants(seed: int, tmp_path: Path, reader: Reader) -> None:
    check(write_mutants(tmp_path / "films", 300, seed), tmp_path / "store", reader)
