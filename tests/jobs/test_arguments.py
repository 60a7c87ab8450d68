"""Arguments that commands share, through the real command line."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs import cli


def test_the_demo_goes_where_its_default_says_and_to_no_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Path] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "write_demo_manifest", lambda folder: asked.append(folder) or folder / "videos.jsonl")
    monkeypatch.setattr(cli, "run_build", lambda *_, **__: 2)
    assert CliRunner().invoke(cli.app, ["demo"]).exit_code == 2
    assert asked == [Path("demo-out-videos")]
    refused = CliRunner().invoke(cli.app, ["demo", "--out", "s3://bucket/set"])
    assert refused.exit_code == 2
    assert "only build and verify take URLs" in refused.output
    assert len(asked) == 1
