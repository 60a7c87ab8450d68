"""Our arithmetic is that of the real loaders: run here where they install, asked once where they do not."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import decord
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers.video_utils import VideoMetadata, default_sample_indices_fn

from stages.algorithms.samplers import SAMPLERS, Budget, NotLoaded, Stated, llava_onevision, qwen_span, qwen_vl
from stages.media.film import write_film

KNOWN: dict[str, Any] = json.loads(Path(__file__).with_name("known_frames.json").read_text())


@pytest.mark.parametrize("name", ["llava-next", "qwen-vl", "llama-factory"])
def test_the_real_loaders_answers(name: str) -> None:
    shown = raised = 0
    for n_frames, header_frames, rate, frames, fps, span, wanted in KNOWN[name]:
        film = Stated(
            n_frames=n_frames, header_frames=header_frames, rate_hz=float(Fraction(rate)),
            duration_s=float(n_frames * (1 / Fraction(rate))),
        )  # fmt: skip
        try:
            found = list(SAMPLERS[name](film, Budget(frames=frames, fps=fps), tuple(span) if span else None))
        except NotLoaded:
            found = None
        assert found == wanted, (film, frames, fps, span)
        shown, raised = shown + (wanted is not None), raised + (wanted is None)
    assert shown > 100
    assert (raised > 0) == (name == "qwen-vl")


@settings(max_examples=300, deadline=None)
@given(n=st.integers(1, 5000), frames=st.integers(1, 300), fps=st.none() | st.floats(0.1, 8), rate=st.floats(5, 120))
def test_transformers_own_sampler(n: int, frames: int, fps: float | None, rate: float) -> None:
    metadata = VideoMetadata(total_num_frames=n, fps=rate)
    if fps is not None:
        frames = max(frames, int(n / rate * fps))  # transformers takes one of the two
    film = Stated(n_frames=n, header_frames=n, rate_hz=rate, duration_s=None)
    try:
        wanted = default_sample_indices_fn(metadata, num_frames=frames) if fps is None else None
        wanted = default_sample_indices_fn(metadata, fps=fps) if wanted is None else wanted
    except ValueError:
        wanted = np.zeros(0, int)
    try:
        found = llava_onevision(film, Budget(frames=frames, fps=fps))
    except NotLoaded:
        found = ()
    assert found == tuple(wanted.tolist())


@settings(max_examples=300, deadline=None)
@example(first=30325, length=3239, half=127)  # one rounding, not two
@given(first=st.integers(0, 50_000), length=st.integers(2, 6000), half=st.integers(1, 128))
def test_torch_rounds_as_we_do(first: int, length: int, half: int) -> None:
    n = 2 * min(half, length // 2)
    film = Stated(n_frames=first + length, header_frames=0, rate_hz=25.0, duration_s=None)
    span = qwen_span(film, first, first + length - 1)
    wanted = torch.linspace(first, first + length - 1, n).round().long().tolist()
    assert list(qwen_vl(film, Budget(frames=n), span)) == wanted


@settings(max_examples=300, deadline=None)
@given(
    rate=st.sampled_from([23.976, 24, 25, 29.97, 30, 59.94, 120, 15.5]),
    first=st.integers(0, 30_000), n=st.integers(2, 900), after=st.integers(0, 50),
)  # fmt: skip
def test_a_span_is_exactly_its_frames(rate: float, first: int, n: int, after: int) -> None:
    film = Stated(n_frames=first + n + after, header_frames=0, rate_hz=rate, duration_s=None)
    n_shown = 2 * (n // 2)
    shown = qwen_vl(film, Budget(frames=n_shown), qwen_span(film, first, first + n - 1))
    assert (shown[0], shown[-1]) == (first, first + n - 1)


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(24)])
def test_decord_and_the_header_state_what_we_count(tmp_path: Path, rate: Fraction) -> None:
    path = tmp_path / "film.mp4"
    write_film(path, [np.full((64, 64, 3), k * 3, np.uint8) for k in range(61)], fps=rate)
    reader = decord.VideoReader(str(path))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (len(reader), stream.frames) == (61, 61)
        assert stream.average_rate is not None
        assert reader.get_avg_fps() == float(stream.average_rate) == float(rate)


def test_a_loader_that_cannot_cut_says_so() -> None:
    film = Stated(n_frames=100, header_frames=100, rate_hz=25.0, duration_s=4.0)
    for name in ("llava-next", "llava-onevision", "llama-factory"):
        with pytest.raises(NotLoaded, match="whole films"):
            SAMPLERS[name](film, Budget(frames=8), (1.0, 2.0))


def test_a_frame_count_that_is_one_off_is_another_answer() -> None:
    """The tables see an off-by-one: the check above can fail."""
    for name in ("llava-next", "qwen-vl", "llama-factory"):
        differs = 0
        for n_frames, header_frames, rate, frames, fps, span, wanted in KNOWN[name]:
            film = Stated(
                n_frames=n_frames + 1, header_frames=header_frames + 1, rate_hz=float(Fraction(rate)),
                duration_s=float(n_frames * (1 / Fraction(rate))),
            )  # fmt: skip
            try:
                found = list(SAMPLERS[name](film, Budget(frames=frames, fps=fps), tuple(span) if span else None))
            except NotLoaded:
                found = None
            differs += found != wanted
        assert differs > 50
