"""A sealed data set in memory, as `utr verify` looks at it, and what it says where something does not follow."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from schemas.manifest import Manifest
from schemas.outcome import Outcome
from schemas.sample import PublishedClip, PublishedSample, PublishedScore


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not follow, and where."""

    key: str
    what: str


@dataclass(frozen=True)
class Sealed:
    """The rows of all tables, in the order of the shards."""

    manifest: Manifest
    clips: list[PublishedClip]
    samples: list[PublishedSample]
    scores: list[PublishedScore]
    outcomes: list[Outcome]

    @cached_property
    def samples_of(self) -> dict[str, list[PublishedSample]]:
        """The published samples by clip_id; a clip whose samples were all dropped has none."""
        found: defaultdict[str, list[PublishedSample]] = defaultdict(list)
        for sample in self.samples:
            found[sample.clip_id].append(sample)
        return dict(found)

    def first_of(self, clip: PublishedClip) -> PublishedSample | None:
        """A sample that tells span, frames and scorer of a clip: the samples of a clip agree on these."""
        return next(iter(self.samples_of.get(clip.clip_id, ())), None)


def short(value: object) -> str:
    """A value as it is shown in a problem."""
    text = str(value)
    return text if len(text) <= 160 else f"{text[:157]}..."
