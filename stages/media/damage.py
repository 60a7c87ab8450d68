"""How much of a damaged film can be used? Runs in the decoder child."""

from bisect import bisect_left
from dataclasses import replace

from stages.media.child import ReadError
from stages.media.facts import Packets
from stages.media.frames import decoded_from_key
from stages.media.packets import opened


def sound_prefix(location: str, packets: Packets) -> tuple[Packets, str | None]:
    """The frames before the first, by presentation, that does not decode, and why that one does not; None: all do."""
    n_sound, why = _decode(location, packets)
    if packets.torn_tick is not None:
        n_sound = min(n_sound, bisect_left(packets.ticks, packets.torn_tick))
    if n_sound == len(packets.ticks):
        return packets, None
    whole = packets.ticks
    return replace(packets, ticks=whole[:n_sound], end_tick=whole[n_sound]), why


def _decode(location: str, packets: Packets) -> tuple[int, str]:
    """How many frames decode before anything goes wrong, and what does."""
    n_sound = 0
    try:
        with opened(location, strict=not packets.has_open_gop) as (container, stream):
            for frame in decoded_from_key(container, stream):
                if n_sound == len(packets.ticks) or frame.pts != packets.ticks[n_sound]:
                    break
                n_sound += 1
    except ReadError as error:
        return n_sound, str(error).removeprefix(f"{location}: ")
    return n_sound, "a frame is missing or damaged"
