"""The bar of a training run: what the journal says, whoever writes it."""

import json
import time
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console as Rich

from jobs.console import Console
from jobs.train_show import following
from schemas.train import StepFacts


@pytest.fixture
def console() -> tuple[Console, StringIO]:
    found, text = Console(), StringIO()
    found.err = Rich(file=text, width=120)
    return found, text


def _write(run: Path, steps: int, *, mfu: float | None = None) -> None:
    facts = [
        StepFacts(
            step=k, loss=1 + k / 4, lr=1e-3, grad_norm=1.0, samples=4, tokens=100, labels=10, packs=1, wall_s=0.1,
            data_wait_s=0.0, tokens_per_s=1000.0, mfu=mfu,
        )
        for k in range(steps)
    ]  # fmt: skip
    lines = "".join(json.dumps(f.to_dict()) + "\n" for f in facts)
    (run / "steps.jsonl").write_text(lines + '{"step": 9')  # the next one is on its way


def test_lines_where_no_terminal_is(tmp_path: Path, console: tuple[Console, StringIO]) -> None:
    shown, text = console
    _write(tmp_path, 3)
    with following(tmp_path, 10, shown):
        pass
    assert text.getvalue() == "training: step 3 of 10, loss 1.5000, 1,000 tokens/s\n"


def test_a_bar_with_loss_speed_and_time_left(tmp_path: Path, console: tuple[Console, StringIO]) -> None:
    shown, text = console
    shown.err = Rich(file=text, width=120, force_terminal=True, color_system=None)
    with following(tmp_path, 10, shown):
        _write(tmp_path, 2, mfu=0.41)
        until = time.monotonic() + 10
        while "2/10" not in text.getvalue():
            assert time.monotonic() < until
            time.sleep(0.05)
        _write(tmp_path, 3, mfu=0.42)
    assert "3/10 loss 1.5000, 1,000 tokens/s, MFU 42%" in text.getvalue()
    assert "left" in text.getvalue()


def test_a_run_without_a_step_shows_none(tmp_path: Path, console: tuple[Console, StringIO]) -> None:
    shown, text = console
    with following(tmp_path, 10, shown):
        pass
    assert text.getvalue() == ""
