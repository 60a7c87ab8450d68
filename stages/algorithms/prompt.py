"""What the prompt says about the frames that are shown (DESIGN section 4).

Without it a lone frame 7 would be called frame1 by the model, and TPL would measure missing names.
"""

from collections.abc import Sequence


def header(frames: Sequence[int], times: Sequence[str]) -> str:
    """ "2 frames: frame1, 0.10 s; frame7, 2.31 s" of 1-based plan indices and the plan's times; "0 frames" of none."""
    count = f"{len(frames)} frame" + ("" if len(frames) == 1 else "s")
    if not frames:
        return count
    return f"{count}: " + "; ".join(f"frame{k}, {times[k - 1]}" for k in frames)
