"""Folders, videos and manifests become sources; what is wrong is named with its place."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.sources import SourceError, read_sources, videos_root
from schemas.video import QA, Source

PAIR = {"question": "What moves?", "answer": "A circle."}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The same rows as .jsonl, .csv or .parquet."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        import csv

        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            for row in rows:
                writer.writerow({**row, "qa": json.dumps(row["qa"]) if row.get("qa") else ""})
    return path


def test_a_folder_gives_its_videos_at_any_depth_sorted(tmp_path: Path):
    for name in ("b.MP4", "a.mkv", "sub/c.ts", "notes.txt", ".hidden.mp4", ".git/d.mp4", "sub/deep/e.WebM"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    sources = read_sources(str(tmp_path))
    assert [s.uri for s in sources] == ["a.mkv", "b.MP4", "sub/c.ts", "sub/deep/e.WebM"]
    assert sources[2] == Source(uri="sub/c.ts", location=str(tmp_path / "sub/c.ts"), caption=None, qa=())


def test_one_video_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.mov").touch()
    monkeypatch.chdir(tmp_path)
    assert read_sources("a.mov") == [Source(uri="a.mov", location=str(tmp_path / "a.mov"), caption=None, qa=())]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_manifest_gives_its_rows_in_order(tmp_path: Path, suffix: str):
    rows = [
        {"uri": "z.mp4", "caption": "one, two", "qa": [PAIR]},
        {"uri": "sub/../a.mp4", "caption": None, "qa": None},
        {"uri": str(tmp_path / "in.mp4"), "caption": None, "qa": None},
        {"uri": "/elsewhere/out.mp4", "caption": None, "qa": None},
        {"uri": "s3://bucket/c.mp4", "caption": None, "qa": None},
    ]
    sources = read_sources(str(write(tmp_path / f"m{suffix}", rows)))
    assert [s.uri for s in sources] == ["z.mp4", "a.mp4", "in.mp4", "/elsewhere/out.mp4", "s3://bucket/c.mp4"]
    assert [s.location for s in sources] == [
        str(tmp_path / "z.mp4"),
        str(tmp_path / "a.mp4"),
        str(tmp_path / "in.mp4"),
        "/elsewhere/out.mp4",
        "s3://bucket/c.mp4",
    ]
    assert (sources[0].caption, sources[0].qa) == ("one, two", (QA(**PAIR),))
    assert (sources[1].caption, sources[1].qa) == (None, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"m\.jsonl: no rows in it"),
        ('{"uri": "a.mp4"}\n\n{"uri": oops}\n', r"m\.jsonl:3: not JSON"),
        ('["a.mp4"]\n', r"m\.jsonl:1: .* is no object"),
        ('{"caption": "x"}\n', r"m\.jsonl:1: no uri"),
        ('{"uri": " "}\n', r"m\.jsonl:1: no uri"),
        ('{"uri": 3}\n', r"m\.jsonl:1: no uri"),
        ('{"uri": "a.mp4", "captoin": "x"}\n', r"m\.jsonl:1: unknown column captoin; known are uri, caption, qa"),
        ('{"uri": "a.mp4", "caption": 3}\n', r"m\.jsonl:1: caption is 3"),
        ('{"uri": "a.mp4"}\n{"uri": "./a.mp4"}\n', r"m\.jsonl:2: a\.mp4 stands already at .*m\.jsonl:1"),
        ('{"uri": "a.mp4", "qa": {"question": "q"}}\n', r"m\.jsonl:1: qa is .*; write a list like"),
        ('{"uri": "a.mp4", "qa": [{"question": "q"}]}\n', r"m\.jsonl:1: qa holds"),
        ('{"uri": "a.mp4", "qa": [{"question": "q", "answer": ""}]}\n', r"m\.jsonl:1: qa holds .* not empty"),
    ],
)
def test_a_wrong_manifest_is_an_error_that_names_file_and_line(tmp_path: Path, text: str, message: str):
    (tmp_path / "m.jsonl").write_text(text)
    with pytest.raises(SourceError, match=message):
        read_sources(str(tmp_path / "m.jsonl"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uri,qa\na.mp4,not json\n", r"m\.csv:2, column qa: not JSON"),
        ("uri,caption\na.mp4,one,two\n", r"m\.csv:2: not as many cells"),
        ("uri,caption\na.mp4\n", r"m\.csv:2: not as many cells"),
        ('uri,caption\na.mp4,"one\n', r"m\.csv:2: not readable as csv"),
        ("name\na.mp4\n", r"m\.csv:2: unknown column name"),
    ],
)
def test_a_wrong_csv_is_an_error_that_names_the_line(tmp_path: Path, text: str, message: str):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(SourceError, match=message):
        read_sources(str(tmp_path / "m.csv"))


def test_other_inputs_are_errors(tmp_path: Path):
    (tmp_path / "bad.parquet").write_text("no")
    (tmp_path / "latin.csv").write_bytes(b"uri\n\xe4.mp4\n")
    (tmp_path / "x.doc").touch()
    (tmp_path / "empty").mkdir()
    for name, message in {
        "absent": "no such file or folder",
        "bad.parquet": "not readable as Parquet",
        "latin.csv": "not UTF-8",
        "x.doc": r"neither a folder, a video nor a manifest; the suffixes known are \.avi",
        "empty": r"no video in it; looked for \.avi, ",
    }.items():
        with pytest.raises(SourceError, match=message):
            read_sources(str(tmp_path / name))


def test_root_is_what_relative_uris_are_relative_to(tmp_path: Path):
    manifest = write(tmp_path / "m.jsonl", [{"uri": "a.mp4", "caption": "one\u2028line"}])
    (source,) = read_sources(str(manifest))
    assert source.caption == "one\u2028line"
    assert videos_root(str(manifest)) == videos_root(str(tmp_path)) == tmp_path
    assert str(videos_root(str(manifest)) / source.uri) == source.location
