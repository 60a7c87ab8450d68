"""What a training run is about to read, what it read, and what it could not."""

from dataclasses import dataclass

from schemas.row import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSample(Record):
    """One row of plan.parquet: a sample and its place in the run, or a reserve that has none.

    Which samples share a step follows from recipe, data and seed alone; which rank reads a pack follows from the number
    of ranks, when it is read.
    """

    step: int | None  # 0-based optimizer step; null, as the next two, for a reserve
    pack: int | None  # within the step
    place: int | None  # within the pack
    source: str  # name of the set in the recipe's mix
    sample_id: str
    clip_id: str
    shard: str  # of the set's data/, relative to the set
    row: int  # in that file
    epoch: int  # of its source, from 0
    n_frames: int  # that are shown: fewer than planned where the recipe reduces frames of long samples
    n_tokens: int  # of the whole sequence, visual ones included, as the next
    n_visual: int
    n_labels: int  # tokens that are predicted
    n_tiles: int  # pictures that pass the vision tower
    reserve: str | None  # "source/sample_id" of the reserve that takes the place if this one cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedSample(Record):
    """A sample of the mix that is not in the plan, or could not be read when its turn came."""

    source: str
    sample_id: str
    step: int | None  # at which it was to be read; null where the planner rejected it
    reason: str  # "too_long" | "unreadable" | "no_label" | ...
    detail: str
    reserve: str | None  # what was read in its place; null where its place stayed empty


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleLoss(Record):
    """What one sample cost at one step, so that losses can be joined back to the data."""

    step: int
    source: str
    sample_id: str
    family: str
    n_labels: int
    nll: float  # nats, summed over its labelled tokens, before the step's update


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFacts(Record):
    """One line of steps.jsonl."""

    step: int
    loss: float  # nats a labelled token, over the whole global batch
    lr: float  # of the language model's group
    grad_norm: float | None  # before clipping; null where the engine does not tell
    samples: int
    tokens: int
    labels: int
    packs: int
    wall_s: float
    data_wait_s: float  # of wall_s: that this rank waited for its packs
    tokens_per_s: float
    mfu: float | None  # share of the device's peak; null where the peak is unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe(Record):
    """One number about the model on held-out samples at one step."""

    step: int
    name: str  # "loss" | "ppl" | "tpl" | "accuracy" | "chance" | "shuffled" | "held" | "neighbour"
    family: str  # of the samples; "all"
    value: float
    n: int  # samples
