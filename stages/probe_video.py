"""What is in the file, before any policy?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from schemas.outcome import Reason, Skip
from schemas.video import Source, Video
from stages.base import Resources, Stage
from stages.media.child import Limits
from stages.media.policies import DROP, POLICIES
from stages.media.reader import Reader


@dataclass(frozen=True, kw_only=True)
class ProbeVideo(Stage[Source, Video, Reader]):
    """Adds what packets and bytes say: identity, size, rotation, time base and presentable frames."""

    on_corrupt: str = DROP  # or "prefix": the frames before the first that does not decode; costs a decode of each film
    timeout_s: float = 300.0
    memory_gb: float = 2.0

    version = 2
    resources = Resources(cpus=0.25, memory_gb=1.0)
    operational = frozenset({"timeout_s", "memory_gb"})

    def __post_init__(self) -> None:
        if self.on_corrupt not in POLICIES:
            raise ValueError(f"on_corrupt {self.on_corrupt!r} is none of {', '.join(POLICIES)}")

    def open(self) -> Reader:
        return Reader(Limits(timeout_s=self.timeout_s, memory_gb=self.memory_gb))

    def close(self, reader: Reader) -> None:
        reader.close()

    def process(self, reader: Reader, sources: Sequence[Source], /) -> list[Video | Skip | list[Video | Skip]]:
        return [_probe(reader, source, self.on_corrupt) for source in sources]


def _probe(reader: Reader, source: Source, on_corrupt: str) -> Video | Skip | list[Video | Skip]:
    facts = reader.probe(source.location, on_corrupt)
    if facts is None:
        return Skip(Reason.NO_VIDEO_STREAM, "no stream of moving pictures")
    if facts.n_frames < 2:
        return Skip(Reason.TOO_FEW_FRAMES, f"{facts.n_frames} presentable frame")
    video = source.extend(Video, **asdict(facts))
    if facts.damage is None:
        return video
    promised = "an unknown number of" if facts.n_promised is None else facts.n_promised
    return [video, Skip(Reason.DAMAGED, f"the first {facts.n_frames} of {promised} frames are used: {facts.damage}")]
