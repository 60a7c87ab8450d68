"""What becomes of films that are cut off or damaged inside: dropped by name, or used up to the damage and counted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.collect import Finished, finished
from pipeline.plan import Plan
from pipeline.run_local import run_local
from schemas.clip import DecodedClip
from schemas.video import Source, Video
from stages.decode_clip import DecodeClip
from stages.media.child import ReadError
from stages.media.reader import Reader
from stages.probe_video import ProbeVideo
from stages.split_shots import SplitShots
from tests import zoo

FILMS: dict[str, Callable[[Path], Path]] = {"cut.mp4": zoo.write_cut_off, "damaged.mp4": zoo.write_damaged}


@pytest.fixture(params=FILMS)
def film(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return FILMS[request.param](tmp_path / request.param)


def probed(path: Path, on_corrupt: str) -> Finished:
    source = Source(uri=path.name, location=str(path), caption=None, qa=())
    plan = Plan.of([source], Source).then(ProbeVideo(on_corrupt=on_corrupt))
    (done,) = finished(plan, run_local(plan))
    return done


def built(video: Video, store: Path) -> Finished:
    plan = (
        Plan.of([video], Video)
        .then(SplitShots(detector="content", threshold=255.0, min_clip_s=0.3, min_shot_s=0.1))
        .then(DecodeClip(store_dir=str(store), max_side_px=128, track_fps=25.0))
    )
    (done,) = finished(plan, run_local(plan))
    return done


def test_a_dropped_film_is_a_failure_that_says_how_much_is_left(film: Path, tmp_path: Path) -> None:
    done = probed(film, "drop")
    outcomes = done.outcomes or built(Video.from_arrow(done.rows)[0], tmp_path / "store").outcomes
    (outcome,) = outcomes
    assert (outcome.stage, outcome.kind, outcome.reason) == (
        "ProbeVideo" if film.name == "cut.mp4" else "SplitShots",
        "failure",
        "ReadError",
    )
    assert f"{film.name}: " in outcome.detail
    assert "of 60 frames" in outcome.detail


def test_of_a_prefix_the_row_and_the_funnel_tell(film: Path) -> None:
    done = probed(film, "prefix")
    (video,) = Video.from_arrow(done.rows)
    assert 2 < video.n_frames < 40
    assert video.n_promised == 60
    assert video.damage is not None
    assert video.end_tick == zoo.STEP * video.n_frames
    (skip,) = done.outcomes
    assert (skip.stage, skip.kind, skip.reason) == ("ProbeVideo", "skip", "damaged")
    assert skip.detail == f"the first {video.n_frames} of 60 frames are used: {video.damage}"
    assert dict(done.funnel.stages["ProbeVideo"].skipped) == {"damaged": 1}
    assert done.funnel.stages["ProbeVideo"].rows_out == 1


def test_all_frames_of_a_prefix_go_through_and_none_behind_it(film: Path, reader: Reader, tmp_path: Path) -> None:
    (video,) = Video.from_arrow(probed(film, "prefix").rows)
    done = built(video, tmp_path / "store")
    assert not done.outcomes
    (clip,) = DecodedClip.from_arrow(done.rows)
    assert clip.track_tick == tuple(zoo.STEP * k for k in range(video.n_frames))
    frames_THWC = reader.frames(clip.location, clip.track_tick, zoo.WIDTH_PX, zoo.HEIGHT_PX)
    assert [zoo.number_of(frame) for frame in frames_THWC] == list(range(video.n_frames))
    assert np.abs(frames_THWC[-1].astype(int) - zoo.picture(video.n_frames - 1)).mean() < 12
    with pytest.raises(ReadError):
        reader.frames(clip.location, [zoo.STEP * video.n_frames], zoo.WIDTH_PX, zoo.HEIGHT_PX)


def test_a_whole_film_is_whole_under_both_policies(tmp_path: Path) -> None:
    path = zoo.write(tmp_path / "whole.mp4", options=zoo.X264)
    rows = [Video.from_arrow(probed(path, policy).rows)[0] for policy in ("drop", "prefix")]
    assert rows[0] == rows[1]
    assert (rows[0].n_frames, rows[0].n_promised, rows[0].damage) == (60, 60, None)


def test_a_header_that_tells_no_number_of_frames(tmp_path: Path) -> None:
    whole = zoo.write(tmp_path / "cut.mkv", options=zoo.X264).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    done = probed(tmp_path / "cut.mkv", "prefix")
    (video,) = Video.from_arrow(done.rows)
    assert video.n_promised is None
    assert f"the first {video.n_frames} of an unknown number of frames are used" in done.outcomes[0].detail


def test_another_policy_is_another_plan() -> None:
    assert ProbeVideo().fingerprint != ProbeVideo(on_corrupt="prefix").fingerprint
    with pytest.raises(ValueError, match="on_corrupt 'mend' is none of drop, prefix"):
        ProbeVideo(on_corrupt="mend")
