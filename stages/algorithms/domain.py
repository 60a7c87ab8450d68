"""Do these frames look like the films of the generated world? Three measures, each bounded by held-out films."""

from dataclasses import dataclass

import numpy as np

from stages.algorithms.world import BACKGROUND, RGB

TOLERANCE = 16  # grey levels: grid lines and compression noise of the generated films lie within
NEAR_COLOUR = 70.0  # of a colour of the world, in RGB distance: flat shapes after compression and resize


@dataclass(frozen=True, slots=True)
class Look:
    """What is measured on planned frames in the scorer's size."""

    background: float  # share of pixels near the background's grey
    spread: float  # standard deviation of those pixels, grey levels: a faint grid has some, noise has more
    colours: float  # share of the other pixels near a colour of the world; 1 where there are none


@dataclass(frozen=True, slots=True)
class Domain:
    """Bounds on a Look: first and 99th percentiles on held-out films."""

    min_background: float
    max_spread: float
    min_colours: float

    def holds(self, look: Look) -> bool:
        return (
            look.background >= self.min_background
            and look.spread <= self.max_spread
            and look.colours >= self.min_colours
        )


def look(small_THWC: np.ndarray) -> Look:
    """The measures of uint8 RGB frames."""
    pixels = small_THWC.reshape(-1, 3).astype(np.float32)
    near = np.abs(pixels - BACKGROUND).max(axis=1) <= TOLERANCE
    others = pixels[~near]
    colours = np.array(list(RGB.values()), np.float32)
    distance = np.sqrt(((others[:, None] - colours) ** 2).sum(-1)).min(1) if len(others) else np.zeros(1)
    return Look(
        background=float(near.mean()),
        spread=float(pixels[near].std()) if near.any() else 0.0,
        colours=float((distance <= NEAR_COLOUR).mean()),
    )
