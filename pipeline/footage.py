"""What a trainer's loader shows of a clip, or why it should not be given it."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pipeline.formats.trainers import TRAINERS
from schemas.sample import PublishedSample
from stages.algorithms.reshow import NotShown
from stages.algorithms.samplers import SAMPLERS, Budget, NotLoaded, Span, Stated, qwen_span
from stages.media.child import ReadError
from stages.media.facts import Packets, StreamFacts
from stages.media.header import read_header
from stages.media.reader import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    trainer: str
    budget: Budget
    boxes: str = "paper"
    rl: bool = False

    @property
    def sampling(self) -> dict[str, float]:
        """What a row of qwen-vl-utils says of its frames."""
        if self.budget.fps is None:
            return {"nframes": self.budget.frames}
        return {"fps": self.budget.fps, "max_frames": self.budget.frames}


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """A film as it is, and as loaders believe it to be."""

    location: str
    facts: StreamFacts
    packets: Packets
    stated: Stated

    @property
    def counted_hz(self) -> float:
        seconds = (self.facts.end_tick - self.facts.start_tick) * self.facts.time_base_num / self.facts.time_base_den
        return len(self.packets.ticks) / seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """What a loader shows of a clip."""

    film: Film
    span: Span | None  # None for the whole film
    ticks: tuple[int, ...]  # all frames of the clip
    shown: tuple[int, ...]  # ticks


def film_at(reader: Reader, location: str, video_id: str) -> Film | NotShown:
    """The film, or why no loader should be given it."""
    if "://" in location:
        return NotShown("not_a_local_file", f"{location}: trainers open files of their own machine; copy it there")
    try:
        facts = reader.probe(location)
        if facts is None:
            return NotShown("not_readable", f"{location}: no stream of moving pictures")
        packets, header = reader.packets(location), read_header(location)
    except ReadError as error:
        return NotShown("not_readable", str(error))
    if facts.video_id != video_id:
        return NotShown("film_changed", f"{location} is not the file that the set was built from")
    if facts.rotation_deg:
        return NotShown(
            "rotated", f"{location}: {facts.rotation_deg} degrees, which loaders ignore; re-encode it upright"
        )
    n = len(packets.ticks)
    if header.n_frames not in (0, n):
        return NotShown(
            "frames_not_as_stated", f"{location}: {n} frames can be shown, its header has {header.n_frames}"
        )
    stated = Stated(n_frames=n, header_frames=header.n_frames, rate_hz=header.rate_hz, duration_s=header.duration_s)
    return Film(location=location, facts=facts, packets=packets, stated=stated)


def footage_of(film: Film, sample: PublishedSample, options: Options) -> Footage:
    """The frames that the loader shows; raises NotShown."""
    trainer, ticks = TRAINERS[options.trainer], film.packets.ticks
    first, last = bisect_left(ticks, sample.start_tick), bisect_left(ticks, sample.end_tick) - 1
    is_whole = first == 0 and last == len(ticks) - 1
    if not (is_whole or trainer.can_cut):
        raise NotShown("loader_cannot_cut", "the clip is a part of its film, and this loader reads whole files")
    if trainer.decoder == "decord" and film.packets.has_open_gop:
        raise NotShown("open_groups", f"{film.location}: decord shows other frames of it than those asked for")
    span = None if is_whole else qwen_span(film.stated, first, last)
    try:
        index = SAMPLERS[options.trainer](film.stated, options.budget, span)
        counted = SAMPLERS[options.trainer](replace(film.stated, rate_hz=film.counted_hz), options.budget, span)
    except NotLoaded as error:
        raise NotShown("not_loaded", str(error)) from error
    if index != counted:
        raise NotShown("rate_unclear", f"{film.stated.rate_hz:g} or {film.counted_hz:g} a second: other frames")
    if len(index) < 2 or any(b <= a for a, b in pairwise(index)):
        raise NotShown("too_few_frames", f"{len(set(index))} frames are shown")
    if index[0] < first or index[-1] > last:
        raise NotShown("frames_outside_clip", f"frames {index[0]} to {index[-1]}, the clip is {first} to {last}")
    if trainer.tells_time:
        _check_clock(film, index)
    if span and options.rl and options.boxes == "qwen" and options.trainer == "ms-swift":
        raise NotShown(
            "clock_differs", "ms-swift counts times from the cut in vLLM's rollouts, from the film's beginning else"
        )
    return Footage(film=film, span=span, ticks=ticks[first : last + 1], shown=tuple(ticks[i] for i in index))


def _check_clock(film: Film, index: Sequence[int]) -> None:
    """The loader tells the model that frame i is at i / rate: so it must be, to half a frame."""
    base_s, start = film.facts.time_base_num / film.facts.time_base_den, film.packets.ticks[0]
    rate = film.stated.rate_hz
    off_s = max(abs((film.packets.ticks[i] - start) * base_s - i / rate) for i in index)
    if off_s > 0.5 / rate:
        raise NotShown(
            "clock_differs", f"a frame is shown {off_s:.3f} s away from where the loader says: variable rate"
        )
