"""What the header says of a film: trainers' loaders believe it. Reads no packet; probe a film first, in its child."""

from dataclasses import dataclass

from stages.media.child import ReadError
from stages.media.packets import opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    n_frames: int  # 0 where it does not say
    rate_hz: float  # average
    duration_s: float | None


def read_header(location: str) -> Header:
    """Raises ReadError where there is no film or no rate."""
    with opened(location) as (_, stream):
        if not stream.average_rate or stream.time_base is None:
            raise ReadError(f"{location}: its header tells no frame rate; remux it")
        return Header(
            n_frames=stream.frames,
            rate_hz=float(stream.average_rate),
            duration_s=None if stream.duration is None else float(stream.duration * stream.time_base),
        )
