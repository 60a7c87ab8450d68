"""Arguments that commands share, through the real command line."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs import cli

URL = "s3://bucket/set"


@pytest.mark.parametrize(
    "command",
    [
        ["score", "--data", "pairs.jsonl", "--out", URL],
        ["select", URL, "--top-tpl", "50%", "--to", "sets"],
        ["select", "scores", "--top-tpl", "50%", "--to", URL],
        ["import", "data.json", "--format", "llava", "--out", URL],
    ],
)
def test_what_is_kept_on_this_machine_goes_to_no_url(
    command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(cli.app, command)
    assert refused.exit_code == 2
    assert "only build and verify take URLs" in refused.output
    assert not list(tmp_path.iterdir())  # else a folder named "s3:"


def test_the_demo_goes_where_its_default_says_and_to_no_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Path] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "write_demo_manifest", lambda folder: asked.append(folder) or folder / "videos.jsonl")
    monkeypatch.setattr(cli, "run_build", lambda *_, **__: 2)
    assert CliRunner().invoke(cli.app, ["demo"]).exit_code == 2
    assert asked == [Path("demo-out-videos")]
    refused = CliRunner().invoke(cli.app, ["demo", "--out", URL])
    assert refused.exit_code == 2
    assert "only build and verify take URLs" in refused.output
    assert len(asked) == 1
