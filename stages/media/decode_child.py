"""The decoder child: `python -m stages.media.decode_child`, started by `child.Child`."""

from collections.abc import Sequence

import cv2
import numpy as np

from stages.media.checked import Foreign, checked_frames
from stages.media.child import ReadError
from stages.media.damage import sound_prefix
from stages.media.decoders import DECORD, PYAV, REMEDY, TORCHCODEC
from stages.media.facts import Packets, StreamFacts
from stages.media.frames import decode_frames, first_frame, rotation_deg
from stages.media.packets import NoVideoStream, file_id, missing_part, named, opened, read_packets
from stages.media.policies import PREFIX
from stages.media.scan import scan_video
from stages.media.serve import loading_libraries, serve


def probe(location: str, on_corrupt: str) -> StreamFacts | None:
    """What packets and bytes say, None for a file without a moving picture; of a damaged film what its policy says."""
    with named(location):
        try:
            packets, missing = read_packets(location), missing_part(location)
        except NoVideoStream:
            return None
    n_promised, damage = len(packets.ticks), None
    if on_corrupt == PREFIX:
        packets, damage = sound_prefix(location, packets)
    elif missing is not None:
        raise ReadError(f"{location}: {missing.why}; download it again")
    if missing is not None:
        n_promised, damage = missing.n_promised, missing.why
    if not packets.ticks:
        raise ReadError(f"{location}: no frame can be decoded: {damage}; re-encode or download it again")
    frame = first_frame(location)
    turn = rotation_deg(frame)
    width_px, height_px = (frame.height, frame.width) if turn in (90, 270) else (frame.width, frame.height)
    video_id, id_kind, n_bytes = file_id(location)
    with opened(location) as (container, stream):
        assert stream.time_base is not None
        return StreamFacts(
            video_id=video_id,
            id_kind=id_kind,
            n_bytes=n_bytes,
            container=container.format.name,
            codec=stream.codec_context.name,
            width_px=width_px,
            height_px=height_px,
            rotation_deg=turn,
            time_base_num=stream.time_base.numerator,
            time_base_den=stream.time_base.denominator,
            n_frames=len(packets.ticks),
            start_tick=packets.ticks[0],
            end_tick=packets.end_tick,
            is_vfr=is_vfr(packets),
            n_promised=n_promised,
            damage=damage,
        )


def is_vfr(packets: Packets) -> bool:
    """Whether frame distances differ by more than a tick of rounding."""
    gaps = [b - a for a, b in zip(packets.ticks[:-1], packets.ticks[1:], strict=True)]
    return bool(gaps) and max(gaps) - min(gaps) > 1


def frames(location: str, ticks: Sequence[int], width_px: int, height_px: int, decoder: str) -> np.ndarray:
    """Exactly the frames with these ascending ticks, from the decoder of that name or not at all."""
    if decoder == PYAV:
        return decode_frames(location, ticks, width_px, height_px)
    return checked_frames(location, ticks, width_px, height_px, foreign(decoder))


def foreign(decoder: str) -> type[Foreign]:
    """A decoder other than PyAV, imported here and only here; raises ReadError with what to install."""
    try:
        with loading_libraries():
            if decoder == DECORD:
                from stages.media.with_decord import Decord

                return Decord
            if decoder == TORCHCODEC:
                from stages.media.with_torchcodec import TorchCodec

                return TorchCodec
    except (ImportError, OSError, RuntimeError) as error:  # torchcodec's own, where it finds no FFmpeg
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise ReadError(f"decoder {decoder} cannot be loaded: {why}; {REMEDY[decoder]}") from error
    raise ValueError(f"no decoder is called {decoder!r}")


def main() -> None:
    """Serves until stdin ends."""
    cv2.setNumThreads(1)
    serve({"probe": probe, "packets": read_packets, "scan": scan_video, "frames": frames})


if __name__ == "__main__":
    main()
