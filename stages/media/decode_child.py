"""The decoder child: `python -m stages.media.decode_child`, started by `child.Child`."""

import cv2

from stages.media.facts import Packets, StreamFacts
from stages.media.frames import decode_frames, first_frame, rotation_deg
from stages.media.packets import NoVideoStream, file_id, named, opened, read_packets
from stages.media.scan import scan_video
from stages.media.serve import serve


def probe(location: str) -> StreamFacts | None:
    """What packets and bytes say, None for a file without a moving picture."""
    with named(location):
        try:
            packets = read_packets(location)
        except NoVideoStream:
            return None
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
        )


def is_vfr(packets: Packets) -> bool:
    """Whether frame distances differ by more than a tick of rounding."""
    gaps = [b - a for a, b in zip(packets.ticks[:-1], packets.ticks[1:], strict=True)]
    return bool(gaps) and max(gaps) - min(gaps) > 1


def main() -> None:
    """Serves until stdin ends."""
    cv2.setNumThreads(1)
    serve({"probe": probe, "packets": read_packets, "scan": scan_video, "frames": decode_frames})


if __name__ == "__main__":
    main()
