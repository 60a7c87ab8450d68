"""Real tiny models: what watching finds is what brute force finds through the scorer's own prompt."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from pipeline.train import collate
from pipeline.train.choices import choice
from pipeline.train.encode import Encoder
from pipeline.train.example import Conversation, Example, Media
from pipeline.train.frames import Filmed
from pipeline.train.model import PackedModel
from pipeline.train.probes import ANSWER, Reading, readings
from pipeline.train.watch import Watch
from pipeline.train.watch_reads import Collate, Reads, open_ended
from schemas.sample import PublishedSample
from schemas.time import spread
from stages.models.protocols import Target
from stages.models.reference import Reference
from tests.models.tiny import KINDS
from tests.train.model_kit import encoder, family
from tests.train.watch_world import Frames, T, choice_sample, sample

SIDE_PX = 56
NOISE = np.random.default_rng(3).integers(0, 256, (T, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
PICTURES = np.stack(
    [np.clip((k + 1) * NOISE[k].astype(int) // 4 * (1, 1 + k % 2, 1 + k // 2), 0, 255) for k in range(T)]
)
PICTURES = PICTURES.astype(np.uint8)


class Films(Frames):
    """Frames of unlike colours and contrasts, so that they differ in what they tell."""

    def media(self, sample: Filmed, index: Sequence[int], /) -> Media | None:
        numbers = super().media(sample, index)
        return numbers and replace(numbers, frames_THWC=PICTURES[list(index)])


class WithoutEnds:
    """Labels what a scorer reads: the answer, and not the mark behind it."""

    def __init__(self, encoder: Encoder, end_id: int) -> None:
        self._encoder, self._end_id = encoder, end_id

    def encode(self, conversation: Conversation) -> Example:
        return open_ended(self._encoder.encode(conversation), self._end_id)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("prompt", "max_frames"), [("frames", 32), ("paper", 3)])
def test_numbers_equal_brute_force(kind: str, prompt: str, max_frames: int):
    """A thinned film is read as a plan of its own, apart from names, of which the paper's prompt says nothing."""
    of, found = family(kind), [sample("a0"), choice_sample("b0")]
    index = spread(T, max_frames)
    wanted: dict[str, dict[tuple[str, int], float]] = {}
    for s in found:
        reference = Reference(of, *film(s, index), headed=prompt == "frames")
        wanted[s.sample_id] = brute_force(reference, s, len(index))
    end_id = of.tokenizer.eos_token_id
    tools = Collate(partial(collate.pack, family=of), partial(collate.dummy, of), 400, 40, end_id)
    reads = Reads(Films(), WithoutEnds(encoder(of, prompt=prompt), end_id), tools, max_frames)
    model = PackedModel(of)
    watched = {s.sample_id: s for s in Watch(found, reads)(0, model, model).samples}
    assert model.training
    for sample_id, nll in wanted.items():
        got = watched[sample_id]
        video = nll["video", 0]
        assert got.nll == pytest.approx(video, abs=1e-3)
        singles = [value - video for (name, _), value in nll.items() if name == "frame"]
        assert got.tpl == pytest.approx(np.mean(singles), abs=1e-3)
        for name in ("shuffled", "held", "neighbour"):
            assert getattr(got, name) == pytest.approx(nll[name, 0] - video, abs=1e-3)
            assert abs(nll[name, 0] - video) > 0.01, "the model must see the change"
    options = [value for (name, _), value in wanted["b0"].items() if name == ANSWER]
    assert watched["b0"].accuracy == float(np.argmin(options) == 1)
    assert max(options) - min(options) > 0.1


def film(of: PublishedSample, index: tuple[int, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    media = Films().media(of, index)
    assert media
    return media.frames_THWC, tuple(media.times[k] for k in index)


def brute_force(reference: Reference, of: PublishedSample, n_frames: int) -> dict[tuple[str, int], float]:
    """Nats by name and number of a reading; options of the choice are A to D of choice_sample."""
    asked = choice(of)

    def nats(reading: Reading) -> float:
        answer = asked.answers[reading.number] if asked and reading.name == ANSWER else of.messages[1].content
        return -float(reference.logprob(reading.context, Target("", "Q?", answer)).sum())

    return {(r.name, r.number): nats(r) for r in readings(n_frames, of.sample_id, asked)}
