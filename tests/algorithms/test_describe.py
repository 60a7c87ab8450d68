"""Words and their borders."""

import pytest

from stages.algorithms.describe import colour_word, heading, motion_word, place, place_risk
from stages.algorithms.world import RGB


@pytest.mark.parametrize(
    ("centre", "word"),
    [
        ((10, 10), "top left"), ((150, 10), "top"), ((290, 10), "top right"), ((10, 50), "left"), ((150, 50), "centre"),
        ((290, 50), "right"), ((10, 90), "bottom left"), ((150, 90), "bottom"), ((290, 90), "bottom right"),
    ],
)  # fmt: skip
def test_places_of_a_wide_frame(centre: tuple[int, int], word: str) -> None:
    x, y = centre
    assert place((x - 5, y - 5, x + 5, y + 5), 300, 100) == word


def test_risk_is_one_on_a_border_and_zero_away_from_it() -> None:
    assert place_risk((90, 40, 110, 60), 300, 100) == pytest.approx(1.0)
    assert place_risk((140, 40, 160, 60), 300, 100) == 0.0


@pytest.mark.parametrize(
    ("dx", "dy", "word"),
    [(1, 0, "right"), (-1, 0, "left"), (0, 1, "down"), (0, -1, "up"), (1, 1, "down right"), (-1, -1, "up left")],
)
def test_headings_have_y_down(dx: int, dy: int, word: str) -> None:
    assert heading(dx, dy) == word


def test_slow_is_still_and_near_the_border_is_risky() -> None:
    assert motion_word(0.1, 0.0, 1.0, 100.0) == ("still", 0.0)
    word, risk = motion_word(3.6, 0.0, 1.0, 100.0)
    assert (word, risk > 0.9) == ("right", True)
    assert motion_word(20.0, 0.0, 1.0, 100.0) == ("right", 0.0)


def test_colours_of_the_world_have_their_names() -> None:
    assert {word: colour_word(rgb) for word, rgb in RGB.items()} == {word: word for word in RGB}
    assert [colour_word(c) for c in [(10, 10, 10), (120, 120, 120), (250, 140, 20)]] == ["black", "grey", "orange"]
