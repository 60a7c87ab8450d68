"""Which texts of which films are learned at which step: equal films and equal target tokens for every arm.

Arms of a seed go through the same films in the same order. Each film gives one text at a time, in turn, until the
tokens that are due by this step are reached; what a step overshoots, the next one gives less. So two arms differ over
a whole run by less than their longest text, whatever their texts are.
"""

from collections import deque
from collections.abc import Sequence

from stages.algorithms.draws import draws

Step = list[tuple[int, tuple[int, ...]]]  # film, and which of its texts


def schedule(
    tokens: Sequence[Sequence[int]], *, steps: int, films_a_step: int, tokens_a_step: int, seed: int
) -> list[Step]:
    """The steps of an arm from the tokens of each film's texts; a text comes again when its film has no other left.

    ValueError where the films have not so many tokens.
    """
    order = _films(len(tokens), steps * films_a_step, seed)
    waiting = [deque(int(i) for i in draws(seed, f"texts/{k}").permutation(len(own))) for k, own in enumerate(tokens)]
    done, found = 0, []
    for step in range(steps):
        here = order[step * films_a_step : (step + 1) * films_a_step]
        taken, done = _step(tokens, waiting, here, done, (step + 1) * tokens_a_step)
        found.append(taken)
    if done < steps * tokens_a_step:
        due = steps * tokens_a_step
        raise ValueError(f"{done:,} target tokens for {steps} steps, {due:,} are due: the films have too few texts")
    return found


def counted(found: Sequence[Step], tokens: Sequence[Sequence[int]]) -> int:
    """Target tokens of a schedule."""
    return sum(tokens[film][i] for step in found for film, texts in step for i in texts)


def _step(
    tokens: Sequence[Sequence[int]], waiting: Sequence[deque[int]], films: Sequence[int], done: int, due: int
) -> tuple[Step, int]:
    taken: dict[int, list[int]] = {film: [] for film in films}
    left = {film: len(waiting[film]) for film in films}
    while done < due and any(left.values()):
        for film in films:
            if done >= due or not left[film]:
                continue
            text = waiting[film].popleft()
            waiting[film].append(text)
            taken[film].append(text)
            left[film] -= 1
            done += tokens[film][text]
    return [(film, tuple(texts)) for film, texts in taken.items() if texts], done


def _films(n_films: int, count: int, seed: int) -> list[int]:
    """Film numbers: all of them in random order, again and again."""
    rounds = -(-count // n_films)
    return [int(i) for k in range(rounds) for i in draws(seed, f"films/{k}").permutation(n_films)][:count]
