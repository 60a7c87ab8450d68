"""Where all arms start: an earlier state of the embedded scorer's course, made from its end.

The finished scorer orders motions and tells time and place almost without fault: no arm can be seen to do better, and
its decayed state resists what a short training says. So the language model's last layer is made new, and the scorer
goes on with its own mixture until it is well above chance again and far from where it was.
"""

from collections.abc import Sequence

import torch

from pipeline.shapes.hacking_films import N_FRAMES, TaughtFilm
from pipeline.shapes.hacking_schedule import schedule
from pipeline.shapes.hacking_train import Rate, Read, shown_of, train
from stages.models.onevision import OneVision

RATE = Rate(matrix=0.007, other=3e-3)  # the course's
TOKENS_A_FILM = 96


def grow_young(
    scorer: OneVision, films: Sequence[TaughtFilm], *, steps: int, films_a_step: int, seed: int
) -> list[float]:
    """Makes the scorer younger, in place; the losses of the steps that it went on."""
    renew_last_layer(scorer, seed)
    tokens = [[t.branch.n_target for t in film.texts["course"]] for film in films]
    due = films_a_step * TOKENS_A_FILM
    plan = schedule(tokens, steps=steps, films_a_step=films_a_step, tokens_a_step=due, seed=seed)
    losses: list[float] = []
    train(
        scorer,
        [[_read(films[i], texts, seed, f"early/{k}/{i}") for i, texts in step] for k, step in enumerate(plan)],
        RATE,
        lambda step, loss: losses.append(loss),
    )
    return losses


@torch.no_grad()
def renew_last_layer(scorer: OneVision, seed: int) -> None:
    """The language model's last layer as a model begins with it, in place."""
    torch.manual_seed(seed)
    std = scorer.model.config.text_config.initializer_range
    for name, weight in scorer.model.model.language_model.layers[-1].named_parameters():
        if weight.ndim == 2:
            weight.normal_(std=std)
        else:
            weight.fill_(1.0 if "norm" in name else 0.0)


def _read(film: TaughtFilm, texts: Sequence[int], seed: int, key: str) -> Read:
    """All frames, one or none, as in the course."""
    own = film.texts["course"]
    return Read(film, shown_of(N_FRAMES, seed, key), tuple(own[i].branch for i in texts))
