"""Trains the embedded scorer and writes its checkpoint: `python jobs/train_embedded_scorer.py --out DIR`."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from pipeline.shapes.embedded_scorer import PARTS, SIDE_PX, Course, new_scorer, train_part
from pipeline.shapes.examine import examine
from pipeline.shapes.lessons import Lesson, lesson
from pipeline.shapes.vocabulary import train_tokenizer
from stages.algorithms.prompt import header
from stages.models.onevision import OneVision

HELD_OUT_FILMS = 256


def main(
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint.")],
    seed: Annotated[int, typer.Option(help="Seed of films, weights and order.")] = 0,
    hidden: Annotated[int, typer.Option(help="Width of the language model, a multiple of 8.")] = 128,
    share: Annotated[float, typer.Option(help="Of the course's steps: less for a second opinion.")] = 1.0,
    done: Annotated[int, typer.Option(help="Parts that the checkpoint in --out already went through.")] = 0,
) -> None:
    """About 40 CPU minutes: one thread learns, a second process makes films. Each part ends in a checkpoint."""
    full = Course(seed=seed, hidden=hidden)
    course = replace(full, image_steps=round(share * full.image_steps), film_steps=round(share * full.film_steps))
    start = time.process_time()
    for part in PARTS[done:]:
        first = part == PARTS[0]
        scorer = new_scorer(course, train_tokenizer(_corpus(seed))) if first else OneVision.load(str(out))
        losses: list[float] = []

        def log(step: int, loss: float, losses: list[float] = losses, part: str = part) -> None:
            losses.append(loss)
            if step % 25 == 24:
                recent = float(np.mean(losses[-25:]))
                print(f"{part} step={step + 1} loss={recent:.4f} cpu_s={time.process_time() - start:.0f}", flush=True)

        train_part(scorer, course, part, log)
        scorer.save(out)
    card = examine(OneVision.load(str(out)), films=HELD_OUT_FILMS, folder=out)
    print(json.dumps(card["skill"]))


def _corpus(seed: int) -> list[str]:
    """What the tokenizer is made from: conversations about 1,500 films."""
    rng = np.random.default_rng([seed, 3])
    return [text for _ in range(1500) for text in _texts(lesson(rng, side_px=SIDE_PX, n_frames=8, film=False))]


def _texts(item: Lesson) -> list[str]:
    said = [text for c in item.conversations for text in (c.question, c.answer)]
    return [*said, header(range(1, item.scene.n_frames + 1), item.times)]


if __name__ == "__main__":
    typer.run(main)
