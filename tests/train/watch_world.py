"""A held-out world whose every nat is known: frames show their number, and a fake model charges by what it sees."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from pipeline.train.example import NO_LABEL, Conversation, Example, Media, Pack, Shape, Tiles
from pipeline.train.frames import Filmed
from pipeline.train.pictures import Unreadable
from pipeline.train.watch import Watch, Watched
from pipeline.train.watch_reads import Collate, Reads
from schemas.sample import Message, PublishedSample
from stages.algorithms.draws import stable_hash
from stages.models.protocols import TooLong

T, END = 4, 9
COST = {"video": 1.0, "shuffled": 1.5, "held": 2.0, "neighbour": 1.25}  # nats a token; a lone frame t: 1 + t / 10
WRONG, END_OF_RIGHT = (
    0.5,
    100.0,
)  # nats a token of a wrong option; nats of the end mark behind the beginning of a right one
PLACE, LETTERS = "In the top left, at frame2:[1,2,3,4].", "(B) up right."


def sample(
    name: str, family: str = "caption", answer: str = "A red circle moves.", **changed: object
) -> PublishedSample:
    messages = (Message(role="user", content="<video>\nQ?"), Message(role="assistant", content=answer))
    whole = PublishedSample(
        sample_id=name, video_id="v", clip_id=f"clip-{name[:1]}", group_id="g", uri="a.mp4", start_tick=0, end_tick=9,
        time_base_num=1, time_base_den=10, frame_tick=tuple(range(T)), family=family, direction="d", answer_type="text",
        messages=messages, program="{}", evidence="{}", reward=json.dumps({"kind": "exact", "value": answer}), tpl=None,
        tpl_key=None, hackability=None, verdict=None, risk=0.0, scorer="s", scorer_domain="in", describer="d",
        split="validation",
    )  # fmt: skip
    return replace(whole, **changed)  # type: ignore[arg-type]


def choice_sample(name: str, answer: str = LETTERS) -> PublishedSample:
    options = ["down left", "up right", "up left", "down right"]
    return sample(name, "direction", answer, reward=json.dumps({"kind": "choice", "value": "B", "options": options}))


def samples() -> list[PublishedSample]:
    """Of three clips; what each costs follows from COST."""
    return [
        sample("a0"), sample("a1", "where", PLACE), choice_sample("b0"), sample("b1", answer="It stands."),
        sample("c0", "when", "From frame1 to frame2, 0.00 s to 0.10 s."), sample("c1", uri="", frame_tick=()),
        sample("c2", uri="a.png", frame_tick=(0,)),
    ]  # fmt: skip


class Frames:
    """Frame k is a picture of the number k."""

    def __init__(self, *unreadable: str) -> None:
        self.unreadable = unreadable

    def shape(self, sample: Filmed, /) -> Shape | None:
        n = len(sample.frame_tick)
        return Shape("video", n, tuple(range(n)), tuple(f"{k}.00 s" for k in range(n)), 2, 2) if sample.uri else None

    def media(self, sample: Filmed, index: Sequence[int], /) -> Media | None:
        if getattr(sample, "sample_id", None) in self.unreadable:
            raise Unreadable("gone.mp4: gone")
        if not sample.uri:
            return None
        n = len(sample.frame_tick)
        frames = np.stack([np.full((2, 2, 3), k, np.uint8) for k in index])
        times = tuple(f"{k}.00 s" for k in range(n))
        return Media("image" if n == 1 else "video", frames, tuple(index), times)

    def close(self) -> None: ...


class Encoder:
    """A token a word; the question's are no labels, the end mark is one. Notes what each film was called."""

    def __init__(self) -> None:
        self.named: list[tuple[list[int], tuple[int, ...]]] = []

    def encode(self, conversation: Conversation) -> Example:
        ((question, answer),) = conversation.turns
        if "too long" in answer:
            raise TooLong(f"{answer}: 99 tokens > 9")
        asked, said = ([10 + stable_hash(w) % 1000 for w in text.split()] for text in (question, answer))
        token_id_S = np.array([1, *asked, *said, END])
        label_S = np.where(np.arange(len(token_id_S)) > len(asked), token_id_S, NO_LABEL)
        media = conversation.media
        if media:
            self.named.append((media.frames_THWC[:, 0, 0, 0].tolist(), media.index))
        tiles = Tiles("video", media.frames_THWC, (2, 2)) if media else None
        position = np.arange(len(token_id_S))[None]
        return Example(
            conversation.source, conversation.sample_id, conversation.family, token_id_S, label_S, position, tiles
        )


def pack(examples: Sequence[Example]) -> Pack:
    def joined(name: str) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([getattr(e, name) for e in examples], axis=-1))

    segment_S = np.repeat(np.arange(len(examples)), [len(e.token_id_S) for e in examples])
    return Pack(
        tuple(examples), joined("token_id_S"), joined("label_S"), joined("position_AS"), torch.from_numpy(segment_S)
    )


def dummy() -> Pack:
    none = torch.zeros(0, dtype=torch.int64)
    return Pack((), none, none, none[None], none)


class Model:
    """Charges COST for what it sees; counts its forwards."""

    def __init__(self, known: Sequence[PublishedSample]) -> None:
        self.answers = {s.sample_id: s.messages[1].content for s in known}
        self.forwards = 0

    def __call__(self, pack: Pack) -> torch.Tensor:
        self.forwards += 1
        assert not torch.is_grad_enabled()
        _ = torch.rand(3), np.random.rand(), random.random()  # as dropout would, and more
        return torch.cat([torch.zeros(0), *map(self._nll, pack.examples)])

    def _nll(self, example: Example) -> torch.Tensor:
        frames = example.tiles.tiles_NHWC[:, 0, 0, 0].tolist() if example.tiles else []
        label_N = example.label_S[example.label_S != NO_LABEL]
        right_N = [10 + stable_hash(w) % 1000 for w in self.answers[example.sample_id].split()]
        words = [i for i in label_N.tolist() if i != END]
        is_right = words == right_N[: len(words)]
        nll_N = torch.full((len(label_N),), self.cost(frames) + (0.0 if is_right else WRONG))
        if is_right and len(words) < len(right_N):
            nll_N[label_N == END] = END_OF_RIGHT
        return nll_N

    @staticmethod
    def cost(frames: list[int]) -> float:
        if len(frames) == 1 and frames[0]:
            return 1 + frames[0] / 10
        if frames == [0, 0, 2, 2]:
            return COST["neighbour"]
        if len(frames) == T and len(set(frames)) == 1:
            return COST["held"]
        return COST["video" if frames == sorted(frames) else "shuffled"]


def reads(encoder: Encoder | None = None, *, unreadable: Sequence[str] = (), micro_tokens: int = 40) -> Reads:
    collate = Collate(pack, dummy, micro_tokens, micro_tiles=12, end_id=END)
    return Reads(Frames(*unreadable), encoder or Encoder(), collate, max_frames=32)


def rank(number: int, world: int, store: Path, found: list[PublishedSample]) -> None:
    """One rank of a group; leaves what it measured and how often it ran the model beside the store."""
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=world)
    model = Model(found)
    watched = Watch(found, reads(), rank=number, world=world)(5, model, torch.nn.Linear(1, 1))
    torch.save((watched.probes, watched.samples, model.forwards), store.with_name(f"rank{number}"))
    dist.destroy_process_group()


def alone(found: list[PublishedSample], step: int = 5) -> Watched:
    return Watch(found, reads())(step, Model(found), torch.nn.Linear(1, 1))
