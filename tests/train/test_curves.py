"""The page and the picture of a run: whole, alone, and with the numbers of its files."""

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.train.curves import cell, facts, funnel, loss_lines, table, write_curves
from pipeline.train.journal import Journal
from pipeline.train.probes import SOURCE
from schemas.train import PlannedSample, RejectedSample
from tests.publish.test_report import Tags
from tests.train import run_world
from tests.train.run_world import FAMILIES, tell, watched


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    journal = Journal(out)
    tell(journal, 0, 20)
    gone = RejectedSample(source=SOURCE, sample_id="w", step=5, reason="too_long", detail="", reserve=None)
    journal.rejected([gone, replace(gone, step=10)])  # the same sample, watched twice
    journal.close()
    journal.finish()
    plan(out)
    return out


def plan(out: Path) -> None:
    row = PlannedSample(
        step=0, pack=0, place=0, source="demo", sample_id="s", clip_id="c", shard="data/part-00000.parquet", row=0,
        epoch=0, n_frames=8, n_tokens=9, n_visual=4, n_labels=3, n_tiles=8, reserve=None,
    )  # fmt: skip
    rows = [replace(row, step=k // 4) for k in range(80)] + [replace(row, step=None, pack=None, place=None)] * 3
    pq.write_table(PlannedSample.to_arrow(rows), out / "plan.parquet")
    no = RejectedSample(source="demo", sample_id="x", step=None, reason="too_long", detail="9 > 8", reserve=None)
    pq.write_table(RejectedSample.to_arrow([no, no]), out / "rejected.parquet")


def test_the_page_is_whole_and_needs_no_other_file(run: Path):
    png, page = write_curves(run)
    text = page.read_text()
    tags = Tags()
    tags.feed(text.replace("<img ", "<br ", 1))  # a void element, as br is
    assert tags.stack == []
    assert re.findall(r'src="([^"]{22})', text) == ["data:image/png;base64,"]
    picture = cv2.imread(str(png))
    assert picture is not None
    assert (picture < 250).any(axis=-1).mean() > 0.03


def test_every_family_and_reason_stands_on_the_page_with_its_number(run: Path):
    text = re.sub(r"<[^>]+>", " ", write_curves(run)[1].read_text())
    text = " ".join(text.split())
    assert all(f" {family} 12 " in text for family in FAMILIES)
    assert "all 48" in text
    last = np.mean([s.tpl for s in watched(20) if s.tpl is not None and s.family == "where"])
    assert f"{last:.2f} ±" in text
    assert "planned 80 reserves 3 read 80" in text
    assert "replaced by a reserve 1" in text
    assert "rejected: too_long (planner) 2 rejected: unreadable (read) 1 rejected: too_long (held out) 1" in text
    assert "chance 25.0 %, n = 12" in text


def test_a_change_is_told_with_the_error_of_the_same_samples():
    first, last = watched(10), watched(20)
    lines = {line.family: line.cells for line in table([*first, *last])}
    found = lines["where"]["held"]
    assert found
    pairs = [(a.held, b.held) for a, b in zip(first, last, strict=True) if a.family == "where"]
    gains = [b - a for a, b in pairs if a is not None and b is not None]
    assert found.change == pytest.approx(np.mean(gains))
    assert found.change_se == pytest.approx(np.std(gains, ddof=1) / np.sqrt(len(gains)))
    assert found.last_se
    assert (found.change_se or 0) < found.last_se / 2
    assert lines["caption"]["accuracy"] is None
    assert cell("tpl", [], last) is not None  # a family that was not there before


def test_facts_are_totals_and_medians():
    steps = [run_world.facts(k, mfu=0.1 * k) for k in range(3)]
    found = facts(steps)
    assert (found["samples"], found["tokens"], found["wall_s"]) == (12, 2700, 6.0)
    assert found["mfu"] == pytest.approx(0.1)
    assert found["wait"] == pytest.approx(0.05)
    assert facts([])["tokens_per_s"] is None


def test_losses_by_family_are_those_of_the_quarters(run: Path):
    lines = loss_lines(run)
    assert [line["family"] for line in lines] == list(FAMILIES)
    first = np.mean([60 / (1 + step) / 20 for step in range(5)])
    assert lines[0]["first"] == pytest.approx(first)
    assert lines[0]["n"] == 20


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path):
    Journal(tmp_path).close()
    text = write_curves(tmp_path)[1].read_text()
    assert "No step was taken" in text
    assert "Nothing was watched" in text
    assert dict(funnel(tmp_path)["counts"])["read"] == 0
