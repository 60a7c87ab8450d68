"""Other words for the composer's questions: a small grammar, so that a model does not learn one wording by heart.

A rule is a pattern of a question and other wordings of it, with the same gaps. What stands in the gaps, names, numbers,
times and boxes, is taken over as it is; sentences that say how to write the answer are left alone.
"""

import re

from stages.algorithms.asking import Unanswerable

S, F, G = r"the (?P<s>[^?]+?)", r"frame(?P<f>\d+)", r"frame(?P<g>\d+)"
SIDE = r"(?:on|at|in) the [a-z ]+|to the (?:left|right) of the [^?]+|(?:above|below) the [^?]+"
DOES = r"enter|appear|leave|disappear|start to move|stop|turn|stay still|move [a-z ]+"
RULES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(pattern), wordings)
    for pattern, wordings in (
        (
            rf"What is the track of {S}\?",
            ("Follow the {s} through the video: what is its track?", "Give the boxes of the {s} at all frames."),
        ),
        (
            rf"Where is {S} at {F}, (?P<t>[\d.]+ s)\?",
            ("At frame{f}, {t}, where is the {s}?", "Look at frame{f}, {t}: where can the {s} be seen?"),
        ),
        (
            rf"Where is {S} when (?P<e>[^?]+)\?",
            ("When {e}, where is the {s}?", "Look at the moment when {e}: where is the {s}?"),
        ),
        (
            rf"When is {S} out of view\?",
            ("Between which frames can the {s} not be seen?", "When can the {s} not be seen?"),
        ),
        (rf"When is {S} (?P<p>{SIDE})\?", ("Over which frames is the {s} {p}?", "During what time is the {s} {p}?")),
        (rf"When does {S} (?P<v>{DOES})\?", ("Over which frames does the {s} {v}?", "At what time does the {s} {v}?")),
        (
            rf"For how long does {S} (?P<v>stay still|move [a-z ]+)\?",
            ("How many seconds does the {s} {v}?", "For what length of time does the {s} {v}?"),
        ),
        (
            rf"What does {S} do from {F} to {G}\?",
            (
                "From frame{f} to frame{g}, what does the {s} do?",
                "Describe the motion of the {s} from frame{f} to frame{g}.",
            ),
        ),
        (
            rf"Which way does {S} move from {F} to {G}\?",
            (
                "From frame{f} to frame{g}, which way does the {s} move?",
                "In which direction does the {s} go from frame{f} to frame{g}?",
            ),
        ),
        (rf"What is {S} doing at {F}\?", ("At frame{f}, what is the {s} doing?", "What does the {s} do at frame{f}?")),
        (r"What happens in this video\?", ("Describe what happens in this video.", "Tell what goes on in this video.")),
        (r"In which order do these happen\?", ("What is the order of these events?", "Sort these events by time.")),
        (
            r"Which of these happens (?P<w>first|last)\?",
            ("Which of these events comes {w}?", "Of these events, which is the {w}?"),
        ),
    )
)
MOST = 2  # wordings besides the composer's own


def phrased(question: str, say: int) -> str:
    """The question in wording number `say`, 1 to MOST; raises Unanswerable where it has none."""
    for pattern, wordings in RULES:
        if 1 <= say <= len(wordings) and (match := pattern.match(question)):
            return wordings[say - 1].format(**match.groupdict()) + question[match.end() :]
    raise Unanswerable(f"no wording {say} of {question[:60]!r}")
