"""Trains the embedded scorer and writes its checkpoint: `python jobs/train_embedded_scorer.py --out DIR`."""

import json
import time
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from pipeline.train.embedded_scorer import SIDE_PX, Course, train
from pipeline.train.examine import examine
from pipeline.train.lessons import Lesson, lesson
from pipeline.train.vocabulary import train_tokenizer
from stages.algorithms.prompt import header
from stages.models.onevision import OneVision

HELD_OUT_FILMS = 256


def main(
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint.")],
    seed: Annotated[int, typer.Option(help="Seed of films, weights and order.")] = 0,
) -> None:
    """About 40 CPU minutes: one thread learns, a second process makes films."""
    course = Course(seed=seed)
    rng = np.random.default_rng([seed, 3])
    corpus = [lesson(rng, side_px=SIDE_PX, n_frames=8, film=False) for _ in range(1500)]
    tokenizer = train_tokenizer(t for item in corpus for t in _texts(item))
    start = time.process_time()
    losses: list[float] = []

    def log(stage: str, step: int, loss: float) -> None:
        losses.append(loss)
        if step % 25 == 24:
            recent = float(np.mean(list(islice(reversed(losses), 25))))
            print(
                f"stage={stage} step={step + 1} loss={recent:.4f} cpu_s={time.process_time() - start:.0f}", flush=True
            )

    scorer = train(course, tokenizer, log)
    scorer.save(out)
    card = examine(OneVision.load(str(out)), films=HELD_OUT_FILMS, folder=out)
    print(json.dumps(card["skill"]))
    print(f"checkpoint={out} cpu_s={time.process_time() - start:.0f}")


def _texts(item: Lesson) -> list[str]:
    said = [text for c in item.conversations for text in (c.question, c.answer)]
    return [*said, header(range(1, item.scene.n_frames + 1), item.times)]


if __name__ == "__main__":
    typer.run(main)
