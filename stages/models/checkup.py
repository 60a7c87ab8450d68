"""Is a scorer to be trusted on this machine? One clip, read by the engine and by brute force, format by format."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stages.algorithms.tpl import FRAME, TEXT, VIDEO, Context, contexts
from stages.models.load import load_scorer
from stages.models.pixels import PatchRule, PixelRule
from stages.models.protocols import Target
from stages.models.reference import Reference
from stages.models.transformers_scorer import TransformersScorer

FLOAT32 = 1e-3  # nats a token: the engine is this near to brute force, or wrong (small checkpoints: 4e-5)
REPEATS = 3
SIDE_PX = 224  # of frames, where a family reads many sizes
Values = dict[tuple[int, int], np.ndarray]  # [target, context] -> log-probabilities, nats


@dataclass(frozen=True, slots=True)
class Format:
    """One number format: distances in nats a token, largest and 99th percentile."""

    dtype: str
    finite: bool
    floor: float  # engine to brute force
    floor_p99: float
    single_frame: float  # the same, on contexts of one frame
    batch: float  # engine alone to engine in company
    off_p99: float | None  # brute force to brute force in float32
    clips_a_s: float
    tokens_a_s: float  # through the language model


@dataclass(frozen=True, slots=True)
class Checkup:
    """What was found. `problems` say what is wrong and what to do; none: the scorer can be used."""

    scorer: str
    family: str
    parameters: int
    device: str
    size_HW: tuple[int, int]  # of a frame as the model sees it, px
    tokens_a_unit: int
    frames_a_unit: int
    prefix_tokens: int  # of the whole clip
    limit: int
    calibrated: bool
    nll: tuple[float, ...]  # of each text, given the clip
    formats: tuple[Format, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """A clip that can be drawn in any size, and texts about it."""

    render: Callable[[int], np.ndarray]  # side, px -> frames_THWC
    times: tuple[str, ...]
    targets: tuple[Target, ...]

    def clip(self, pixel: PixelRule | PatchRule) -> "Clip":
        """In the size that the model wants, so that no filter comes between; any where it reads many."""
        return Clip(self.render(pixel.side_px if isinstance(pixel, PixelRule) else SIDE_PX), self.times, self.targets)


@dataclass(frozen=True, slots=True)
class Clip:
    frames_THWC: np.ndarray
    times: tuple[str, ...]
    targets: tuple[Target, ...]


def check_up(scorer: str, scene: Scene, *, dtypes: Sequence[str], device: str, max_pixels: int | None) -> Checkup:
    """Raises NoScorer where it cannot be loaded, TooLong where it cannot read the clip."""
    seen = contexts(len(scene.times), shuffles=1, key="doctor")
    exact: Values | None = None
    formats: list[Format] = []
    problems: list[str] = []
    for dtype in dtypes:
        subject = load_scorer(scorer, dtype=dtype, device=device, max_pixels=max_pixels)
        clip = scene.clip(subject.family.pixel)
        together = _read(subject, clip, seen)  # first: what is too long ends here
        truth = _brute(subject, clip, seen)
        exact = truth if dtype == "float32" else exact
        found = _format(subject, clip, seen, (together, truth), None if truth is exact else exact)
        formats.append(found)
        problems += _problems(found, truth, seen)
    return _checkup(subject, clip, seen, truth, tuple(formats), tuple(problems))


def _checkup(
    subject: TransformersScorer, clip: Clip, seen: Sequence[Context], truth: Values,
    formats: tuple[Format, ...], problems: tuple[str, ...],
) -> Checkup:  # fmt: skip
    family = subject.family
    pixels = family.pixel.tensor(clip.frames_THWC)
    rows, columns = family.grid(pixels)
    every = tuple(range(len(clip.frames_THWC)))
    return Checkup(
        scorer=subject.name,
        family=type(family.model).__name__,
        parameters=sum(p.numel() for p in family.model.parameters()),
        device=_device(family.model.device),
        size_HW=(pixels.shape[-2], pixels.shape[-1]),
        tokens_a_unit=rows * columns,
        frames_a_unit=len(family.units(every)[0]),
        prefix_tokens=max(_prefix_lengths(subject, clip, seen)),
        limit=family.limit,
        calibrated=subject.thresholds is not None,
        nll=tuple(-float(truth[t, _of_kind(seen, VIDEO)].sum()) for t in range(len(clip.targets))),
        formats=formats,
        problems=problems,
    )


def _format(
    subject: TransformersScorer,
    clip: Clip,
    seen: Sequence[Context],
    read: tuple[Values, Values],
    exact: Values | None,
) -> Format:
    """`read` by the engine and by brute force; `exact` by brute force in float32, where that is another format."""
    together, truth = read
    alone = {
        (t, c): subject.watch(clip.frames_THWC, clip.times).read([target], [seen[c]])[0].logprob[0]
        for t, target in enumerate(clip.targets)
        for c in (_of_kind(seen, VIDEO), _of_kind(seen, TEXT), _of_kind(seen, FRAME))
    }
    off = _distance(together, truth)
    single = {key: truth[key] for key in truth if seen[key[1]].kind == FRAME}
    started = time.perf_counter()
    for _ in range(REPEATS):
        _read(subject, clip, seen)
    spent_s = (time.perf_counter() - started) / REPEATS
    own = sum(len(subject.family.branch(t.question, t.answer).token_id) for t in clip.targets)
    tokens = sum(_prefix_lengths(subject, clip, seen)) + len(seen) * own
    return Format(
        dtype=str(subject.family.model.dtype).removeprefix("torch."),
        finite=all(bool(np.isfinite(v).all()) for v in together.values()),
        floor=float(off.max()),
        floor_p99=float(np.percentile(off, 99)),
        single_frame=float(_distance(together, single).max()),
        batch=float(_distance(together, alone).max()),
        off_p99=None if exact is None else float(np.percentile(_distance(truth, exact), 99)),
        clips_a_s=1 / spent_s,
        tokens_a_s=tokens / spent_s,
    )


def _problems(found: Format, truth: Values, seen: Sequence[Context]) -> list[str]:
    """What is wrong with a format, with the remedy."""
    if not found.finite:
        return [f"{found.dtype}: log-probabilities are not finite: use bfloat16 or float32"]
    said = []
    bound = FLOAT32 if found.dtype == "float32" else 2 * (found.off_p99 or 0.5) + FLOAT32
    worst = found.floor if found.dtype == "float32" else found.floor_p99
    if worst > bound:
        said.append(
            f"{found.dtype}: the engine is {worst:.2g} nats a token from brute force, more than {bound:.2g}: "
            "scores of this checkpoint are not to be trusted; please report it with the model's name"
        )
    if found.dtype == "float32" and found.batch > bound:
        said.append(f"{found.dtype}: a score changes by {found.batch:.2g} with what shares its batch: please report it")
    video, text, frame = (_of_kind(seen, kind) for kind in (VIDEO, TEXT, FRAME))
    if all(np.array_equal(truth[0, video], truth[0, other]) for other in (text, frame)):
        said.append(f"{found.dtype}: frames do not change the answer's likelihood: is the checkpoint a whole one?")
    return said


def _read(subject: TransformersScorer, clip: Clip, seen: Sequence[Context]) -> Values:
    readings = subject.watch(clip.frames_THWC, clip.times).read(clip.targets, seen)
    return {(t, c): v for t, reading in enumerate(readings) for c, v in enumerate(reading.logprob)}


def _brute(subject: TransformersScorer, clip: Clip, seen: Sequence[Context]) -> Values:
    reference = Reference(subject.family, clip.frames_THWC, clip.times)
    pairs = ((t, c) for t in range(len(clip.targets)) for c in range(len(seen)))
    return {(t, c): reference.logprob(seen[c], clip.targets[t]) for t, c in pairs}


def _prefix_lengths(subject: TransformersScorer, clip: Clip, seen: Sequence[Context]) -> list[int]:
    return [len(p) for p in subject.watch(clip.frames_THWC, clip.times).prefixes(seen)]


def _distance(a: Values, b: Values) -> np.ndarray:
    """Token by token, of what both hold."""
    return np.concatenate([np.abs(a[key] - b[key]) for key in a.keys() & b.keys()])


def _of_kind(seen: Sequence[Context], kind: str) -> int:
    return next(i for i, c in enumerate(seen) if c.kind == kind)


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu, one thread"
