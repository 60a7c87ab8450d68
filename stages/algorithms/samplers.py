"""Which frames of a film a trainer's own loader shows: its arithmetic, rounding included, without its decoder.

Each function gives 0-based numbers of frames in order of presentation, as the code named in its docstring computes
them. tests/export/test_samplers.py holds them to that code, or to what it answered (known_frames.json).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor

import numpy as np

QWEN_FACTOR = 2  # frames are merged in pairs
QWEN_MIN_FRAMES = 4
QWEN_FPS = 2.0
LLAMA_FACTORY_FPS = 2.0
LLAVA_NEXT_FPS = 1.0


class NotLoaded(ValueError):
    """The loader raises on this film with this budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What loaders believe about a film."""

    n_frames: int  # that can be shown; decord and torchcodec count them
    header_frames: int  # by the header; 0 where it does not say, as in Matroska
    rate_hz: float  # the header's average
    duration_s: float | None  # by the header


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most `frames`; at `fps` a second where that is fewer, None for the loader's own default."""

    frames: int
    fps: float | None = None


Span = tuple[float, float]  # seconds from the beginning of the film


def llava_next(film: Stated, budget: Budget, span: Span | None = None) -> tuple[int, ...]:
    """LLaVA-VL/LLaVA-NeXT 67a9b39, llava/utils.py `process_video_with_decord`, frames_upbound and video_fps set.

    Its frame times (`frame_time`, for add_time_instruction) divide by the stride and are wrong at most rates; ours
    are those of the frames.
    """
    _whole(span)
    stride = round(film.rate_hz / (budget.fps or LLAVA_NEXT_FPS))
    if stride < 1:
        raise NotLoaded(f"a stride of {stride} frames: {budget.fps} a second are more than twice the film's own")
    index = range(0, film.n_frames, stride)
    if len(index) > budget.frames:
        return _ints(np.linspace(0, film.n_frames - 1, budget.frames, dtype=int))
    return tuple(index)


def llava_onevision(film: Stated, budget: Budget, span: Span | None = None) -> tuple[int, ...]:
    """huggingface/transformers 5.18.0, video_utils.py `default_sample_indices_fn`, with do_sample_frames=True.

    LlavaOnevisionVideoProcessor itself samples nothing by default: a film goes in whole.
    """
    _whole(span)
    n = budget.frames if budget.fps is None else int(film.n_frames / film.rate_hz * budget.fps)
    if not 0 < n <= min(film.n_frames, budget.frames):  # it takes a number or a rate, never both
        raise NotLoaded(f"{n} frames are asked for, of the film's {film.n_frames} and at most {budget.frames}")
    return tuple(k * film.n_frames // n for k in range(n))


def qwen_vl(film: Stated, budget: Budget, span: Span | None = None) -> tuple[int, ...]:
    """qwen-vl-utils 0.0.14, vision_process.py `calculate_video_frame_range`, `smart_nframes`, `_read_video_decord`.

    Without fps a row says `nframes`, with it `fps` and `max_frames`; `span` is `video_start`, `video_end`.
    """
    first, last = _qwen_range(film, span)
    total = last - first + 1
    if budget.fps is None:
        n = round(budget.frames / QWEN_FACTOR) * QWEN_FACTOR
    else:
        most = floor(budget.frames / QWEN_FACTOR) * QWEN_FACTOR
        wanted = min(max(total / film.rate_hz * budget.fps, QWEN_MIN_FRAMES), most, total)
        n = floor(wanted / QWEN_FACTOR) * QWEN_FACTOR
    if not QWEN_FACTOR <= n <= total:
        raise NotLoaded(f"{n} frames are asked for, and there are {total}")
    return _torch_linspace(first, last, n)


def llama_factory(film: Stated, budget: Budget, span: Span | None = None) -> tuple[int, ...]:
    """hiyouga/LLaMA-Factory 0.9.5, data/mm_plugin.py `_get_video_sample_indices`: video_maxlen and video_fps.

    Where the header does not count frames it takes the first `video_maxlen`: the film's beginning, frame after frame.
    """
    _whole(span)
    if film.header_frames == 0:
        return tuple(range(min(budget.frames, film.n_frames)))
    if film.duration_s is None:
        raise NotLoaded("the header counts frames and tells no duration")
    n = max(1, floor(film.duration_s * (budget.fps or LLAMA_FACTORY_FPS)))
    n = min(film.header_frames, budget.frames, n)
    return _ints(np.linspace(0, film.header_frames - 1, n).astype(np.int32))


def qwen_span(film: Stated, first: int, last: int) -> Span:
    """`video_start` and `video_end` from which `qwen_vl` computes exactly the frames `first` to `last`.

    Half a frame outside, so that no rounding of a product of seconds and rate takes a frame more or less.
    """
    return max(0.0, round((first - 0.5) / film.rate_hz, 6)), round((last + 0.5) / film.rate_hz, 6)


SAMPLERS: dict[str, Callable[[Stated, Budget, Span | None], tuple[int, ...]]] = {
    "llava-next": llava_next,
    "llava-onevision": llava_onevision,
    "qwen-vl": qwen_vl,
    "llama-factory": llama_factory,
    # modelscope/ms-swift 4.6.0, template/templates/qwen.py: a row's chat_template_kwargs reach qwen-vl-utils.
    "ms-swift": qwen_vl,
}


def _qwen_range(film: Stated, span: Span | None) -> tuple[int, int]:
    if span is None:
        return 0, film.n_frames - 1
    start_s, end_s = (max(0.0, min(s, film.n_frames / film.rate_hz)) for s in span)
    first, last = ceil(start_s * film.rate_hz), min(floor(end_s * film.rate_hz), film.n_frames - 1)
    if first >= last:
        raise NotLoaded(f"frames {first} to {last} are fewer than two")
    return first, last


def _torch_linspace(first: int, last: int, n: int) -> tuple[int, ...]:
    """torch.linspace(first, last, n).round(): in float32, the second half counted from the end.

    Torch multiplies and adds in one rounding; the product of two float32 is exact in float64.
    """
    f = np.float32
    step = float(f(f(last) - f(first)) / f(n - 1))
    values = [f(first + step * i if i < n // 2 else last - step * (n - 1 - i)) for i in range(n)]
    return tuple(int(np.round(v)) for v in values)


def _whole(span: Span | None) -> None:
    if span is not None:
        raise NotLoaded("this loader reads whole films")


def _ints(array: np.ndarray) -> tuple[int, ...]:
    return tuple(int(k) for k in array)
