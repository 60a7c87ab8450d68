"""`utr evaluate`: commands, tables, refusals; with lmms-eval itself by hand."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from pipeline.lmms import run as runner
from pipeline.lmms.command import PROMPTS, PYTHON, VERSION, Asked, NoHarness, check, command, settings
from pipeline.lmms.local_set import TASK
from stages.models import transformers_scorer
from stages.models.checkpoint import find
from tests.jobs.held_set import write_set
from tests.models.tiny import checkpoint

LMMS = Path(os.environ.get("UTR_LMMS_PYTHON", PYTHON))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"))


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["evaluate", *(str(a) for a in arguments)], env={"COLUMNS": "200"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def asked(**changed: Any) -> Asked:
    return replace(Asked(model=find("embedded"), tasks=("mvbench",), out=Path("o")), **changed)


def test_commands_have_the_cures(tmp_path: Path) -> None:
    line = command(Path("py"), asked())
    assert line[:2] == ["py", str(Path(runner.__file__))]
    model = find("embedded").path
    assert line[2:7] == [
        "--model", "llava_hf", "--force_simple", "--model_args",
        f"pretrained={model},device=cpu,device_map=cpu,dtype=float32,max_frames_num=32",
    ]  # fmt: skip
    assert settings(asked()) == {}  # the hub is needed
    several = command(Path("py"), asked(processes=8, device="cuda", dtype="bfloat16", limit=10))
    assert several[1:5] == ["-m", "accelerate.commands.launch", "--num_processes", "8"]
    assert f"pretrained={model},dtype=bfloat16,max_frames_num=32" in several
    assert several[several.index("--limit") + 1] == "10"
    local = asked(tasks=(TASK,), include=Path("t"), limit=10)
    line = command(Path("py"), local)
    assert line[line.index("--model") + 1] == "utr"
    assert line[line.index("--include_path") + 1] == "t"
    assert "--limit" not in line  # its file has no more
    assert settings(local)["HF_HUB_OFFLINE"] == "1"
    through = command(Path("py"), replace(local, through="lmms"))
    assert through[through.index("--model") + 1] == "llava_hf"
    qwen = find(str(checkpoint("qwen2_5_vl", tmp_path / "qwen")))
    line = command(Path("py"), asked(model=qwen, device="cuda", max_pixels=50176))
    assert f"pretrained={qwen.path},device=cuda:0,device_map=cuda:0,max_num_frames=32,max_pixels=50176" in line
    assert "--force_simple" not in line
    with pytest.raises(NoHarness, match="reads video files only"):
        command(Path("py"), replace(local, model=qwen, through="lmms"))
    with pytest.raises(NoHarness, match="link it to another"):
        command(Path("py"), asked(model=replace(qwen, path="/a,b")))
    with pytest.raises(NoHarness, match="is a bert model"):
        command(Path("py"), asked(model=replace(qwen, config={"model_type": "bert"})))


def test_prompts_are_those_of_the_scorer() -> None:
    assert PROMPTS == transformers_scorer.PROMPTS


def test_interpreters_that_cannot_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(NoHarness, match=r"no such interpreter; make lmms-eval"):
        check(tmp_path / "python")
    with pytest.raises(NoHarness, match=r"has no lmms-eval, and 0\.7\.3 is asked for; make lmms-eval"):
        check(Path(sys.executable))
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no module named encodings >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(NoHarness, match=r"does not run.*no module named encodings"):
        check(broken)


def test_its_environment_reads_checkpoints_with_our_versions() -> None:
    root = Path(__file__).resolve().parents[2]
    ours, theirs = (set((root / f).read_text().split()) for f in ("constraints.txt", "docker/constraints_lmms.txt"))
    for name in ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pillow", "pyarrow"):
        assert {pin for pin in theirs if pin.startswith(f"{name}==")} == {p for p in ours if p.startswith(f"{name}==")}
    assert f"lmms_eval=={VERSION}" in theirs


def test_the_seeds_list_is_run_as_one_command(tmp_path: Path) -> None:
    code, said, _ = run("--tasks", "seed", "--dry-run", "--out", tmp_path / "o")
    assert code == 0
    assert said.count("\n") == 1
    tasks = (
        "mvbench,tempcompass,videomme,activitynetqa,mmvet,mmbench_en_dev,mmmu_val,mme,pope,seedbench,ai2d,realworldqa"
    )
    assert f"--tasks {tasks} " in said
    assert not (tmp_path / "o").exists()
    code, said, _ = run("--tasks", "local,pope", "--set", "S", "--dry-run", "--out", tmp_path / "o")
    assert said.count("run.py") == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--tasks", "local"), "--set"),
        (("--tasks", "vbench"), "'vbench': known are local, seed, mvbench"),
        (("--tasks", "pope", "--split", "train"), "--split train"),
        (("--tasks", "pope", "--through", "vllm"), "--through vllm"),
        (("--tasks", "pope", "--prompt", "none"), "--prompt none"),
        (("--tasks", "pope", "--model", "nothing-here"), "no such folder"),
        (("--tasks", "pope", "--python", "/no/python"), "make lmms-eval"),
    ],
)
def test_what_cannot_be_used(arguments: tuple[str, ...], why: str, tmp_path: Path) -> None:
    code, _, log = run(*arguments, "--out", tmp_path / "o")
    assert code == 2
    assert why in log
    assert not (tmp_path / "o").exists()


def stand_in(tmp_path: Path, body: str) -> Path:
    """An interpreter that says that it has lmms-eval, and does `body` instead of an evaluation."""
    python = tmp_path / "python"
    versions = json.dumps({"lmms-eval": "0.7.3", "torch": "2", "transformers": "5"})
    python.write_text(f"#!/bin/sh\nif [ \"$1\" = -c ]; then echo '{versions}'; exit 0; fi\n{body}\n")
    python.chmod(0o755)
    return python


def test_a_run_that_leaves_no_results_is_no_success(tmp_path: Path) -> None:
    """lmms-eval prints its error and ends with 0."""
    python = stand_in(tmp_path, "echo ERROR: Tasks not found: pope")
    code, _, log = run("--tasks", "pope", "--python", python, "--out", tmp_path / "o")
    assert code == 6
    assert "Tasks not found: pope" in log
    assert "lmms.log" in log


def test_benchmarks_end_in_a_table_and_an_account(tmp_path: Path) -> None:
    results = json.dumps({"results": {"pope": {"pope_accuracy,none": 0.5}, "mmvet": {"gpt_eval_score,none": 30.0}}})
    folder = tmp_path / "o" / "lmms" / "benchmarks" / "model"
    python = stand_in(tmp_path, f"mkdir -p {folder}; echo '{results}' > {folder}/1_results.json")
    arguments = ("--tasks", "pope,mmvet", "--python", python, "--out", tmp_path / "o")
    code, said, log = run(*arguments)
    assert code == 0
    assert "50.0" in said
    assert "88.9" in said
    assert "MM-Vet: marks by a judge" in log
    account = json.loads((tmp_path / "o" / "evaluation.json").read_text())
    assert account["benchmarks"] == {"pope": 50.0, "mmvet": 30.0}
    assert account["versions"]["lmms_eval"] == "0.7.3"
    assert run(*arguments)[0] == 0  # an evaluation's folder is used again
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("")
    code, _, log = run(*arguments[:-1], tmp_path / "other")
    assert code == 2
    assert "choose another --out" in log


def test_templates_of_parts_are_given_parts() -> None:
    class Parts:
        """Writes nothing of plain text, as templates of vision models do."""

        def apply_chat_template(self, messages: list[dict[str, Any]], **_: Any) -> str:
            texts = [p for m in messages for p in m["content"] if isinstance(p, dict)]
            return "".join("<video>\n" if p["type"] == "video" else p["text"] for p in texts)

    class Plain:
        def apply_chat_template(self, messages: list[dict[str, Any]], **_: Any) -> str:
            return "".join(str(m["content"]) for m in messages)

    message = [{"role": "user", "content": "<video>\nWhat?\nWhy?"}]
    assert Parts().apply_chat_template(message) == ""
    render: Callable[..., str] = runner.in_parts(Parts())
    assert render(message) == "<video>\nWhat?\nWhy?"
    assert runner.in_parts(Plain())(message) == "<video>\nWhat?\nWhy?"
    assert runner.parts("<image> <image>\nWhich?") == [
        {"type": "image"}, {"type": "image"}, {"type": "text", "text": "Which?"},
    ]  # fmt: skip
    assert runner.parts("Which?") == [{"type": "text", "text": "Which?"}]


@pytest.mark.lmms
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not LMMS.exists(), reason="make lmms-eval, or set UTR_LMMS_PYTHON")
def test_lmms_eval_itself_offline(data: Path, tmp_path: Path) -> None:
    """A tiny checkpoint, read with this engine's prompt and by lmms-eval's own class: the same words."""
    model = checkpoint("llava_onevision", tmp_path / "model")
    said: dict[str, list[dict[str, Any]]] = {}
    for through in ("engine", "lmms"):
        out = tmp_path / through
        options = ("--model", model, "--set", data, "--python", LMMS, "--through", through, "--limit", 12)
        code, table, log = run(*options, "--out", out)
        assert code == 0, log
        assert "all" in table
        said[through] = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert [a["sample_id"] for a in said["engine"]] == [a["sample_id"] for a in said["lmms"]]
    assert len({a["said"] for a in said["engine"]}) > 1
    assert [a["said"] for a in said["engine"]] == [a["said"] for a in said["lmms"]]
