"""A training run as its loop would tell it to the journal: numbers that follow from step, rank and sample."""

import os
import signal
from pathlib import Path

from pipeline.train.journal import Journal
from pipeline.train.probes import WatchedSample, probes
from schemas.train import RejectedSample, SampleLoss, StepFacts
from stages.algorithms.draws import draws

WATCH_EVERY, SAVE_EVERY = 5, 5
FAMILIES = ("caption", "direction", "when", "where")


def facts(step: int, *, mfu: float | None = None) -> StepFacts:
    noise = draws(0, f"loss/{step}").normal()
    return StepFacts(
        step=step, loss=3 * 0.97**step + 0.5 + 0.05 * noise, lr=1e-5, grad_norm=1.0 + 0.1 * noise, samples=4,
        tokens=900, labels=80, packs=2, wall_s=2.0, data_wait_s=0.1, tokens_per_s=450.0 + 10 * noise, mfu=mfu,
    )  # fmt: skip


def losses(step: int, rank: int, world: int) -> list[SampleLoss]:
    """Four samples a step, whatever the number of ranks."""
    names = [(f"s{4 * step + k:04d}", FAMILIES[k]) for k in range(4) if k % world == rank]
    nll = 60 / (1 + step)
    return [
        SampleLoss(step=step, source="demo", sample_id=name, family=family, n_labels=20, nll=nll)
        for name, family in names
    ]


def watched(step: int, clips: int = 12) -> list[WatchedSample]:
    """Samples of which time is learned: what is lost without order grows with the steps."""
    found = []
    for clip in range(clips):
        for k, family in enumerate(FAMILIES):
            rng, learned = draws(1, f"{clip}/{k}"), step / (step + 20)
            known = rng.normal() * learned
            found.append(
                WatchedSample(
                    step=step, sample_id=f"{clip}-{k}", clip_id=f"{clip}", family=family, n_labels=12,
                    nll=30 - 20 * learned + 2 * rng.normal(), tpl=(2 + k) * learned + 0.3 * known,
                    shuffled=3 * k * learned + known, held=4 * learned + known, neighbour=learned + 0.2 * known,
                    accuracy=float(rng.random() < 0.25 + 0.6 * learned) if k else None, chance=0.25 if k else None,
                )
            )  # fmt: skip
    return found


def tell(journal: Journal, first: int, end: int, *, rank: int = 0, world: int = 1, save: bool = True) -> None:
    """Steps `first` to `end`, watched and flushed as a loop does before each checkpoint."""
    for step in range(first, end + 1):
        if step % WATCH_EVERY == 0:
            journal.watched(probes(step, watched(step)), watched(step))
        if save and step % SAVE_EVERY == 0:
            journal.flush()
        if step == end:
            return
        journal.step(facts(step))
        journal.losses(losses(step, rank, world))
        if step == 3:
            journal.rejected([unreadable(step, rank)])


def unreadable(step: int, rank: int) -> RejectedSample:
    return RejectedSample(
        source="demo",
        sample_id=f"bad{rank}",
        step=step,
        reason="unreadable",
        detail="gone.mp4: gone",
        reserve="demo/r1",
    )


def killed(run: Path, start: int, end: int) -> None:
    """Tells steps up to `end` and dies without a word, in the middle of a line."""
    journal = Journal(run, start_step=start)
    tell(journal, start, end)
    with (run / "steps.jsonl").open("a") as file:
        file.write('{"step": 99, "lo')
    os.kill(os.getpid(), signal.SIGKILL)
