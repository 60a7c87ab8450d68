"""Which answer a scorer gives, by likelihood."""

import numpy as np

from pipeline.shapes.examine import likeliest


def test_an_answer_that_another_one_begins_with_is_judged_by_its_end() -> None:
    answers = ("moves down", "moves down right", "moves down left", "moves up")
    # Of .6 that begins with "moves down", .35 goes on to the right and .2 to the left: .05 ends there.
    assert likeliest(answers, list(np.log([0.6, 0.35, 0.2, 0.3]))) == 1
    assert likeliest(answers, list(np.log([0.6, 0.1, 0.1, 0.3]))) == 0
    assert likeliest(answers, list(np.log([0.6, 0.3, 0.25, 0.4]))) == 3
