"""The local task of `utr evaluate`: which samples it holds, its frames, its rules, and sets that give none."""

import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.lmms.local_set import TASK, LocalTask, write_task
from pipeline.publish import publish
from pipeline.verify import NotADataSet
from stages.algorithms.prompt import header
from tests.jobs.held_set import SIDE_PX, frames_of, names, write_set
from tests.publish.builders import facts, make_video
from tests.train import sets


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def task(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LocalTask]:
    to = tmp_path_factory.mktemp("task")
    return to, write_task(data, to, split="validation", limit=None, prompt="frames")


def docs_of(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "docs.parquet").to_pylist()


def module_at(path: Path) -> Any:
    """Loaded as lmms-eval loads it: by its file, with nothing of ours to be imported from."""
    assert not any("import " in line and "stages" in line for line in path.read_text().splitlines())
    spec = importlib.util.spec_from_file_location("their_utils", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_local_task_holds_the_held_out_samples_only(data: Path, task: tuple[Path, LocalTask]) -> None:
    folder, made = task
    rows = pq.read_table(data / "data").to_pylist()
    ours = [r for r in rows if r["split"] == "validation"]
    twins = [r for r in ours if r["twin"]]
    several = [r for r in ours if not r["twin"] and len(r["messages"]) > 2]
    held = {r["sample_id"] for r in ours} - {r["sample_id"] for r in (*twins, *several)}
    docs = docs_of(folder)
    assert {d["sample_id"] for d in docs} == held
    assert 0 < len(held) < len(rows)
    assert made == LocalTask(len(held), 3, {"about a twin": len(twins), "more than one question": len(several)})
    assert {d["family"] for d in docs} >= {"where", "direction", "caption", "given"}
    by_id = {r["sample_id"]: r for r in rows}
    for doc in docs:
        row = by_id[doc["sample_id"]]
        assert f"<video>\n{doc['question']}" == row["messages"][0]["content"]
        assert doc["answer"] == row["messages"][1]["content"]
        assert doc["header"] == header(range(1, 9), doc["times"])
    settings = yaml.load((folder / "utr_local.yaml").read_text().replace("!function ", ""), yaml.SafeLoader)
    assert settings["task"] == TASK
    assert settings["dataset_kwargs"]["data_files"] == {"test": str(folder / "docs.parquet")}


def test_its_functions_find_frames_and_truth_without_this_package(data: Path, task: tuple[Path, LocalTask]) -> None:
    folder, _ = task
    utils = module_at(folder / "utils.py")
    clips = {c["clip_id"]: c["frames_jpeg"] for c in pq.read_table(data / "clips").to_pylist()}
    for doc in docs_of(folder):
        (address,) = utils.doc_to_visual(doc)
        assert address.startswith("parquet:///")
        assert utils.frames_of(address) == clips[doc["sample_id"].rsplit("-", 1)[0]]
        assert utils.doc_to_text(doc) == f"{doc['header']}\n{doc['question']}"
        (rule,) = utils.process_results(doc, [doc["answer"]]).items()
        assert rule == ("open" if doc["family"] in ("caption", "timeline", "given") else "closed", 1.0)
        (wrong,) = utils.process_results(doc, ["It rains."]).values()
        assert wrong == 0.0
    picture = cv2.imdecode(np.frombuffer(clips.popitem()[1][0], np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (SIDE_PX, SIDE_PX, 3)


def test_words_count_once_each(task: tuple[Path, LocalTask]) -> None:
    f1 = module_at(task[0] / "utils.py").word_f1
    assert f1("A red circle", "a RED circle.") == 1.0
    assert f1("red red red", "a red circle") == pytest.approx(1 / 3)
    assert f1("", "a red circle") == 0.0


def test_the_papers_prompt_says_nothing_of_frames(data: Path, tmp_path: Path) -> None:
    write_task(data, tmp_path, split="validation", limit=5, prompt="paper")
    utils = module_at(tmp_path / "utils.py")
    docs = docs_of(tmp_path)
    assert len(docs) == 5
    assert all(utils.doc_to_text(d) == d["question"] for d in docs)


def test_a_limit_draws_the_same_samples_from_all_videos(data: Path, tmp_path: Path) -> None:
    drawn = []
    for name in ("one", "two"):
        write_task(data, tmp_path / name, split="all", limit=20, prompt="frames")
        drawn.append(docs_of(tmp_path / name))
    assert drawn[0] == drawn[1]
    assert len({d["video_id"] for d in drawn[0]}) >= 4
    assert len(drawn[0]) == 20


def test_sets_without_frames_or_samples_are_refused(data: Path, tmp_path: Path) -> None:
    bare, taught = tmp_path / "bare", tmp_path / "taught"
    publish(bare, [make_video(names("validation", 1)[0])], facts())
    publish(taught, [make_video(names("train", 1)[0])], facts(), load_frames=frames_of)
    for folder, why in ((bare, "--pack-frames"), (taught, "no sample of its validation split"), (tmp_path, "manifest")):
        with pytest.raises(NotADataSet, match=why):
            write_task(folder, tmp_path / "task", split="validation", limit=None, prompt="frames")
    assert write_task(taught, tmp_path / "task", split="all", limit=None, prompt="frames").videos == 1


def test_images_and_texts_are_left_out_and_counted(tmp_path: Path) -> None:
    """What is trained on as tiles of a picture must not be asked for as a film."""
    held = {f"s{k}": k for k in (4, 1, 0, 3)}  # frames: films, an image, a text
    samples = [sets.sample(name, n_frames=n, split="validation") for name, n in held.items()]
    data = sets.write_set(tmp_path / "set", [*samples, sets.sample("taught", n_frames=1)])
    made = write_task(data, tmp_path / "task", split="validation", limit=None, prompt="frames")
    assert made == LocalTask(2, 2, {"about an image": 1, "about no medium": 1})
    assert {d["sample_id"] for d in docs_of(tmp_path / "task")} == {"s4", "s3"}
    only = sets.write_set(tmp_path / "only", [samples[1]])
    with pytest.raises(NotADataSet, match="no sample has one question about a film"):
        write_task(only, tmp_path / "task", split="all", limit=None, prompt="frames")
