"""Whole files or none, one plan a folder, one build at a time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.collect import Finished, finished
from pipeline.ledger import Ledger, LedgerBusy, PlanChanged
from pipeline.run_local import run_local
from pipeline.storage import Place
from tests.toys import FILMS, Film, plan

ROOT = Path(__file__).resolve().parents[2]
VIDEOS = {video.source_uri: video for video in finished(plan(), run_local(plan()))}


def ledger(work_dir: Place, **rate: Any) -> Ledger:
    made = plan(**rate)
    return Ledger(work_dir, made.fingerprint, tuple(made.describe_parameters()))


def same(a: Finished, b: Finished) -> bool:
    return (
        a.source_uri == b.source_uri
        and a.rows.equals(b.rows, check_metadata=True)
        and a.outcomes == b.outcomes
        and a.funnel.to_dict() == b.funnel.to_dict()
    )


def test_what_is_committed_is_read_back(tmp_path: Path):
    with ledger(tmp_path).open() as book:
        for uri, video in VIDEOS.items():
            book.commit(uri, video, asked="")
        assert set(book.done()) == set(VIDEOS)
    with ledger(tmp_path).open() as book:
        assert set(book.done()) == {film.uri for film in FILMS}
        for uri, video in VIDEOS.items():
            assert same(book.read(uri), video)
        with pytest.raises(KeyError, match="zzz is not done"):
            book.read("zzz")


def test_another_plan_is_refused_with_the_difference(tmp_path: Path):
    with ledger(tmp_path).open() as book:
        book.commit("a", VIDEOS["a.mp4"], asked="")
    refused = pytest.raises(PlanChanged, match=r"RateBeats.scale: 0.5 -> 0.25(.|\n)*choose another --out")
    with refused as caught, ledger(tmp_path, scale=0.25).open():
        pass
    assert "CutBeats" not in str(caught.value)
    with ledger(tmp_path).open() as book:
        assert set(book.done()) == {"a"}


def test_torn_and_foreign_files_do_not_count(tmp_path: Path):
    with ledger(tmp_path).open() as book:
        for name in ("a", "b", "c"):
            book.commit(name, VIDEOS["a.mp4"], asked="")
    videos = tmp_path / "videos"
    whole = (videos / "a.arrow").read_bytes()
    (videos / "b.arrow").write_bytes(whole[: len(whole) // 2])
    (videos / "c.arrow").write_bytes(b"")
    (videos / "d.arrow.tmp").write_bytes(whole)
    (videos / "notes.txt").write_text("mine")
    with ledger(tmp_path / "other", scale=0.25).open() as foreign:
        foreign.commit("e", VIDEOS["a.mp4"], asked="")
    (tmp_path / "other" / "videos" / "e.arrow").rename(videos / "e.arrow")
    with ledger(tmp_path).open() as book:
        assert set(book.done()) == {"a"}
        assert {path.name for path in videos.iterdir()} == {"a.arrow", "e.arrow", "notes.txt"}
        book.commit("e", VIDEOS["a.mp4"], asked="")
        assert set(book.done()) == {"a", "e"}


@pytest.mark.parametrize("name", ["../a", "a/b", "", ".hidden", "a" * 300])
def test_an_id_that_cannot_name_a_file_is_refused(tmp_path: Path, name: str):
    with ledger(tmp_path).open() as book, pytest.raises(ValueError, match="cannot name a file"):
        book.commit(name, VIDEOS["a.mp4"], asked="")


def test_two_builds_in_one_folder_are_refused(tmp_path: Path):
    busy = pytest.raises(LedgerBusy, match=f"in use by process {os.getpid()}")
    with ledger(tmp_path).open(), busy, ledger(tmp_path).open():
        pass
    with ledger(tmp_path).open():
        pass


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.pipeline.test_ledger import VIDEOS, ledger
with ledger(Path(sys.argv[2])).open() as book:
    for i in range(1_000_000):
        book.commit(f"v{i}", VIDEOS["d.mp4"], asked="")
        if i == 0:
            print("go", flush=True)
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.21])
def test_kill_9_leaves_whole_files_only_and_no_lock(tmp_path: Path, delay_s: float):
    args = [sys.executable, "-c", WRITER, str(ROOT), str(tmp_path)]
    writer = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "go\n"
    with pytest.raises(LedgerBusy, match=f"process {writer.pid}"), ledger(tmp_path).open():
        pass
    time.sleep(delay_s)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    with ledger(tmp_path).open() as book:
        done = set(book.done())
        assert done == {f"v{i}" for i in range(len(done))}
        assert done
        assert all(same(book.read(name), book.read("v0")) for name in done)
        assert {path.stem for path in (tmp_path / "videos").iterdir()} == done


def test_a_film_without_rows_is_committed_too(tmp_path: Path):
    (video,) = finished(plan([FILMS[1]]), run_local(plan([Film(uri="b.mp4", n_scenes=0)])))
    with ledger(tmp_path).open() as book:
        book.commit("b", video, asked="")
        assert book.read("b").outcomes[0].reason == "too_short"
        assert book.read("b").rows.num_rows == 0
