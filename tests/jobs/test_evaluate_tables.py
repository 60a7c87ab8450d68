"""What `utr evaluate` shows: published numbers, caveats, values of groups, means with their errors."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from jobs.evaluate_tables import benchmark_table, local_table
from pipeline.lmms.published import published
from pipeline.lmms.results import Answer, means, numbers


def test_published_rows_have_known_tasks_and_sources() -> None:
    table = published()
    assert len(table.seed) == 12
    assert set(table.seed) <= set(table.tasks)
    for row in table.rows:
        assert row.source in table.sources
        assert set(row.values) <= set(table.tasks)
        assert all(0 < v <= 100 or k == "mme" for k, v in row.values.items())
    (ours,) = [r for r in table.rows if r.model == "Video-UTR 7B"]
    assert set(ours.values) == set(table.seed)
    assert ours.values["mvbench"] == 58.8


def test_values_of_groups_and_shares() -> None:
    tasks = published().tasks
    parts = {f"mvbench_{k}": {"mvbench_accuracy,none": v} for k, v in (("a", 50.0), ("b", 70.0))}
    results = {
        **parts,
        "mvbench": {"alias": "mvbench"},
        "pope": {"pope_accuracy,none": 0.875, "pope_f1_score,none": 0.8},
    }
    assert tasks["mvbench"].value(results) == 60.0
    assert tasks["pope"].value(results) == 87.5
    assert tasks["mmmu"].value(results) is None


def test_tables_show_ours_beside_the_published(capsys: pytest.CaptureFixture[str]) -> None:
    out = Console(width=200)
    out.print(benchmark_table("mine", {"mvbench": 61.26, "activitynetqa": None}))
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if "│" in line]
    assert ["61.3" in lines[0], "mine" in lines[0], "this run" in lines[0]] == [True] * 3
    (theirs,) = [line for line in lines if "Video-UTR 7B" in line]
    assert "58.8" in theirs
    assert "55.0" in theirs
    assert not any("SigLIP" in line and "64.0" not in line for line in lines)
    warned = published().caveats(["activitynetqa"], limit=8, frames=16)
    assert any("gpt-3.5-turbo-0613" in w for w in warned)
    assert any("first 8 samples only" in w for w in warned)
    assert not any("judge" in w for w in published().caveats(["mvbench"], limit=None, frames=32))


def test_means_take_samples_of_a_video_together(capsys: pytest.CaptureFixture[str]) -> None:
    def one(k: int, video: str, value: float, rule: str = "closed") -> Answer:
        return Answer(f"s{k}", video, "where", "?", "a", "b", rule, value)

    together = means([one(0, "v", 1.0), one(1, "v", 1.0), one(2, "w", 0.0), one(3, "w", 0.0)])
    apart = means([one(0, "t", 1.0), one(1, "u", 1.0), one(2, "v", 0.0), one(3, "w", 0.0)])
    assert [m.value for m in together] == [0.5, 0.5]
    assert together[0].error == pytest.approx(2**0.5 / 4)
    assert apart[0].error == pytest.approx(1 / 4)
    assert [(m.family, m.videos) for m in together] == [("where", 2), ("all", 2)]
    Console(width=120).print(local_table(together))
    assert "0.354" in capsys.readouterr().out


def test_the_newest_results_count(tmp_path: Path) -> None:
    for day, value in ((1, 0.1), (2, 0.2)):
        (tmp_path / f"2026010{day}_results.json").write_text(json.dumps({"results": {"a": {"b,none": value}}}))
    assert numbers(tmp_path, tmp_path / "log") == {"a": {"b,none": 0.2}}
