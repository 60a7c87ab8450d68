"""How densely is a clip supervised? Words a second, the share of its planned frames that are cited, the longest gap.

A token is a word or a number of an assistant's message ("frame12:[0,40]" has four): no tokenizer, so that the figure
does not change with the model; a script without spaces counts a run of letters as one word. A frame is cited where the
evidence of a sample names it, but for samples about the whole clip, whose evidence is all of it and tells no frame.
"""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from schemas.sample import Sample

WORD = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)?")
WHOLE = ("caption", "absent", "given")  # families about the whole clip


@dataclass(frozen=True, slots=True)
class Density:
    tokens: int  # of all answers
    clip_s: float
    cited: int  # planned frames
    planned: int
    uncited_s: float  # the longest time in a row without a cited frame, each standing for the time around it

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.clip_s

    @property
    def cited_share(self) -> float:
        return self.cited / self.planned


def density(samples: Iterable[Sample], edge_s: Sequence[float]) -> Density:
    """Of a clip whose planned frame k (from 1) stands for edge_s[k - 1] .. edge_s[k]."""
    tokens, cited = 0, set[int]()
    for sample in samples:
        tokens += sum(len(WORD.findall(m.content)) for m in sample.messages if m.role == "assistant")
        if sample.family not in WHOLE and sample.twin is None:  # a twin's frames are not the clip's
            cited.update(json.loads(sample.evidence)["frames"])
    planned = len(edge_s) - 1
    return Density(tokens, edge_s[-1] - edge_s[0], len(cited), planned, _longest(cited, edge_s))


def frame_edges(plan_tick: Sequence[int], start_tick: int, end_tick: int, tick_s: float) -> list[float]:
    """Halfway between planned frames, and the ends of the clip: seconds from its start."""
    between = [(a + b) / 2 for a, b in pairwise(plan_tick)]
    return [(tick - start_tick) * tick_s for tick in (start_tick, *between, end_tick)]


def _longest(cited: Collection[int], edge_s: Sequence[float]) -> float:
    longest, begun = 0.0, edge_s[0]
    for frame in range(1, len(edge_s)):
        if frame in cited:
            begun = edge_s[frame]
        longest = max(longest, edge_s[frame] - begun)
    return longest
