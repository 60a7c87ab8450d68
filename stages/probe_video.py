"""What is in the file, before any policy?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from schemas.outcome import Reason, Skip
from schemas.video import Source, Video
from stages.base import Resources, Stage
from stages.media.child import Limits
from stages.media.reader import Reader


@dataclass(frozen=True, kw_only=True)
class ProbeVideo(Stage[Source, Video, Reader]):
    """Adds what packets and bytes say: identity, size, rotation, time base and presentable frames."""

    timeout_s: float = 300.0
    memory_gb: float = 2.0

    version = 1
    resources = Resources(cpus=0.25, memory_gb=1.0)
    operational = frozenset({"timeout_s", "memory_gb"})

    def open(self) -> Reader:
        return Reader(Limits(timeout_s=self.timeout_s, memory_gb=self.memory_gb))

    def close(self, reader: Reader) -> None:
        reader.close()

    def process(self, reader: Reader, sources: Sequence[Source], /) -> list[Video | Skip]:
        return [_probe(reader, source) for source in sources]


def _probe(reader: Reader, source: Source) -> Video | Skip:
    facts = reader.probe(source.location)
    if facts is None:
        return Skip(Reason.NO_VIDEO_STREAM, "no stream of moving pictures")
    if facts.n_frames < 2:
        return Skip(Reason.TOO_FEW_FRAMES, f"{facts.n_frames} presentable frame")
    return source.extend(Video, **asdict(facts))
