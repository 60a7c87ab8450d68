"""What other people's formats become: texts with their places, and names for what gives none."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.formats.read import PairInput, locate, read_pairs
from pipeline.given_samples import Scores, given_sample
from pipeline.score_publish import rejected_outcomes
from pipeline.sources import SourceError
from schemas.outcome import Outcome
from schemas.pair import PairClip, Text
from schemas.sample import PublishedSample
from stages.algorithms.asking import CAPTION_QUESTION
from tests.score.conftest import talk


def written(folder: Path, records: Any, name: str = "set.json") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records))
    return str(path)


def texts(given: PairInput) -> list[Text]:
    return [text for source in given.sources for text in source.texts]


def reasons(given: PairInput) -> dict[str, str]:
    return {rejected.key: rejected.reason for rejected in given.rejected}


def test_every_turn_is_a_target_with_the_turns_before_it(llava: Path) -> None:
    given = read_pairs(str(llava))
    assert given.facts.format == "llava"
    second = next(t for t in texts(given) if t.pair_id == "llava-0000000-t01")
    assert [(q.question, q.answer) for q in second.history] == [
        ("What happens in this video?", "A large red circle moves right.")
    ]
    assert (second.question, second.answer, second.kind) == ("How many shapes are there?", "Two.", "dialogue")
    assert (second.sample_id, second.subset) == ("llava-0000000", "alpha")


def test_bad_records_are_named_and_counted(llava: Path) -> None:
    given = read_pairs(str(llava))
    assert reasons(given) == {
        "llava-0000005": "ImageOnly",
        "llava-0000006": "NoVideoKey",
        "llava-0000007-t00": "EmptyAnswer",
    }
    assert given.rows == 12
    assert "record 6: has no 'video': its keys are id, vidoe, conversations" in given.rejected[1].detail


def test_texts_about_one_video_are_one_source(llava: Path) -> None:
    assert [s.uri for s in read_pairs(str(llava)).sources] == ["a.mp4", "b.mp4", "c.mp4", "missing.mp4", "text.mp4"]


def test_an_empty_answer_ends_its_conversation(tmp_path: Path) -> None:
    given = read_pairs(written(tmp_path, [{"video": "a.mp4", "conversations": talk("a", "b", "c", "", "e", "f")}]))
    assert [t.pair_id for t in texts(given)] == ["set-0000000-t00"]
    assert reasons(given) == {"set-0000000-t01": "EmptyAnswer", "set-0000000-t02": "EmptyAnswer"}
    assert all("turn 1 has an empty answer" in rejected.detail for rejected in given.rejected)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"video": "", "conversations": talk("q", "a")}, "NoVideoKey"),
        ({"video": ["a.mp4", "b.mp4"], "conversations": talk("q", "a")}, "NoVideoKey"),
        ({"video": "a.mp4"}, "BadTurns"),
        ({"video": "a.mp4", "conversations": []}, "BadTurns"),
        ({"video": "a.mp4", "conversations": talk("q")}, "BadTurns"),
        ({"video": "a.mp4", "conversations": talk("q", "a")[::-1]}, "BadTurns"),
        ({"video": "a.mp4", "conversations": [{"from": "system", "value": "x"}, *talk("q", "a")]}, "BadTurns"),
        ({"video": "a.mp4", "conversations": [{"from": "human"}, {"from": "gpt", "value": "a"}]}, "BadTurns"),
        ({"video": "a.mp4", "start": 3, "end": 2, "conversations": talk("q", "a")}, "BadSpan"),
        ({"video": "a.mp4", "start": -1, "conversations": talk("q", "a")}, "BadSpan"),
        ({"video": "a.mp4", "end": "soon", "conversations": talk("q", "a")}, "BadSpan"),
    ],
)
def test_an_odd_record_is_rejected_by_its_own_name(tmp_path: Path, record: dict[str, Any], reason: str) -> None:
    good = {"video": "a.mp4", "conversations": talk("q", "a")}
    given = read_pairs(written(tmp_path, [good, record]))
    assert reasons(given) == {"set-0000001": reason}
    assert f"{tmp_path / 'set.json'}, record 1" in given.rejected[0].detail


def test_videochat2_folders_name_subsets(tmp_path: Path) -> None:
    qa = [{"i": "Answer.", "q": "Who?", "a": "A dog."}, {"i": "", "q": "Where?", "a": "Here."}]
    written(tmp_path, [{"video": "a.mp4", "QA": qa, "start": "00:00:01.5", "end": 9}], "vqa/next_qa/train.json")
    written(tmp_path, [{"video": "b.mp4", "QA": [{"i": "Describe.", "q": "", "a": "A."}]}], "caption/webvid.json")
    given = read_pairs(str(tmp_path), format="videochat2", videos="s3://bucket/films")
    caption, first, second = texts(given)
    assert (caption.subset, caption.kind, caption.question) == ("caption/webvid", "caption", "Describe.")
    assert (first.subset, first.question, first.start_s, first.end_s) == ("vqa/next_qa", "Answer.\nWho?", 1.5, 9.0)
    assert [turn.answer for turn in second.history] == ["A dog."]
    assert first.pair_id == "vqa/next_qa/train-0000000-t00"
    assert given.sources[0].location == "s3://bucket/films/b.mp4"
    assert [(f.path, f.records) for f in given.facts.files] == [
        ("caption/webvid.json", 1),
        ("vqa/next_qa/train.json", 1),
    ]


def test_videochat2_is_told_from_llava(tmp_path: Path) -> None:
    records = [{"video": "a.mp4", "QA": [{"q": "Who?", "a": "A dog."}]}]
    assert read_pairs(written(tmp_path, records)).facts.format == "videochat2"


ROWS = [
    {"uri": "a.mp4", "caption": "A dog runs.", "qa": [{"question": "Who?", "answer": "A dog."}], "subset": "one"},
    {"uri": "b.mp4", "caption": "A cat, asleep.", "qa": None, "subset": None, "start_s": 1.0, "end_s": 2.5},
    {"uri": "c.mp4", "caption": None, "qa": None, "subset": None},
]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_manifests_of_all_kinds_say_the_same(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"set.{suffix}"
    if suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in ROWS))
    elif suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([{**ROWS[1], "qa": ROWS[0]["qa"], **row} for row in ROWS]), path)
    else:
        qa = json.dumps(ROWS[0]["qa"]).replace('"', '""')
        lines = [f'a.mp4,A dog runs.,"{qa}",one,,', 'b.mp4,"A cat, asleep.",,,1.0,2.5', "c.mp4,,,,,"]
        path.write_text("\n".join(["uri,caption,qa,subset,start_s,end_s", *lines]))
    given = read_pairs(str(path))
    found = [(t.pair_id, t.sample_id, t.subset, t.kind, t.question, len(t.history)) for t in texts(given)]
    assert found == [
        ("set-0000000-t00", "set-0000000-t00", "one", "caption", CAPTION_QUESTION, 0),
        ("set-0000000-t01", "set-0000000-t01", "one", "question", "Who?", 0),
        ("set-0000001-t00", "set-0000001", "set", "caption", CAPTION_QUESTION, 0),
    ]
    assert (texts(given)[2].start_s, texts(given)[2].end_s) == (1.0, 2.5)
    assert reasons(given) == {"set-0000002": "NoText"}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "a.jsonl",
            '{"uri": "a.mp4", "caption": "x"}\n{"uri": "b.mp4", "capton": "x"}',
            r"a.jsonl:2: unknown column capton",
        ),
        ("a.jsonl", '{"uri": "a.mp4", "caption": "x"}\n{"uri"', r"a.jsonl:2: not JSON"),
        ("a.json", '[{"vidoe": "a.mp4", "text": "x"}]', r"record 0: its keys are vidoe, text; known are uri"),
        ("a.json", '{"video": "a.mp4"}', r"a.json: holds dict; a JSON list of records"),
        ("a.json", "[]", r"a.json: no list of records"),
        ("a.json", '[{"video": "a.mp4", "QA": []}]', r"gives no pair as --format videochat2: .*record 0: QA is \[\]"),
        ("a.txt", "a", r"the suffixes known are .json"),
    ],
)
def test_a_wrong_input_is_refused_with_its_place(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(SourceError, match=says):
        read_pairs(str(tmp_path / name))


def test_a_format_that_does_not_fit_is_refused(llava: Path) -> None:
    with pytest.raises(SourceError, match=r"gives no pair as --format videochat2: .*record 0: QA is None"):
        read_pairs(str(llava), format="videochat2")


def test_where_videos_lie(tmp_path: Path) -> None:
    assert locate("a/b.mp4", str(tmp_path)) == str(tmp_path / "a/b.mp4")
    assert locate("/x/b.mp4", str(tmp_path)) == "/x/b.mp4"
    assert locate("gs://x/b.mp4", "s3://y") == "gs://x/b.mp4"
    assert locate("b.mp4", "s3://y/z/") == "s3://y/z/b.mp4"


def test_an_id_that_comes_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    clip = PairClip(
        uri="a.mp4", location="a.mp4", span_index=0, video_id="v", clip_id="v-t0", start_tick=0, end_tick=9,
        time_base_num=1, time_base_den=10, frame_tick=(0, 4), store_width_px=0, store_height_px=0, texts=(),
    )  # fmt: skip
    sample = given_sample(clip, "set-0000000", [("q", "a")], "llava", Scores())
    (tmp_path / "data").mkdir()
    for name in ("one", "two"):
        pq.write_table(PublishedSample.to_arrow([sample]), tmp_path / f"data/{name}.parquet")
    with pytest.raises(SourceError, match=r"two.parquet, record 0: set-0000000-t00 stands already at .*one.parquet"):
        read_pairs(str(tmp_path), videos=str(tmp_path))


def test_files_of_one_name_in_two_folders_have_ids_of_their_own(tmp_path: Path) -> None:
    record = [{"video": "a.mp4", "conversations": talk("q", "a")}]
    for folder in "ab":
        written(tmp_path, record, f"{folder}/train.json")
    assert [t.pair_id for t in texts(read_pairs(str(tmp_path)))] == ["a/train-0000000-t00", "b/train-0000000-t00"]


def test_hidden_files_are_those_hidden_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = [{"video": "a.mp4", "conversations": talk("q", "a")}]
    written(tmp_path, record, ".cache/sets/one.json")
    written(tmp_path, record, ".cache/sets/.old/two.json")
    monkeypatch.chdir(tmp_path / ".cache")
    for data in ("sets", "../.cache/sets"):
        assert [f.path for f in read_pairs(data).facts.files] == ["one.json"]


def test_a_mixed_set_that_begins_with_an_image_is_about_videos(tmp_path: Path) -> None:
    image, film = ({key: f"a.{key}", "conversations": talk("q", "a")} for key in ("image", "video"))
    given = read_pairs(written(tmp_path, [image, film]))
    assert (given.facts.format, [s.uri for s in given.sources]) == ("llava", ["a.video"])
    assert reasons(given) == {"set-0000000": "ImageOnly"}
    with pytest.raises(SourceError, match="`utr import --format image` takes images in"):
        read_pairs(written(tmp_path, [image], "images.json"))


@pytest.mark.parametrize(
    "record",
    [
        {"video": "a.mp4", "conversations": talk("q", "x \ud83d")},
        {"video": "a.mp4", "conversations": talk("q \ude00", "x")},
        {"video": "a\ud83d.mp4", "conversations": talk("q", "x")},
    ],
)
def test_half_a_character_is_rejected_by_name(tmp_path: Path, record: dict[str, Any]) -> None:
    good = {"video": "b.mp4", "conversations": talk("q", "a")}
    given = read_pairs(written(tmp_path, [good, record]))
    assert reasons(given) == {"set-0000001": "BadText"}
    assert "holds half of a surrogate pair" in given.rejected[0].detail
    (rejected,) = rejected_outcomes(given.rejected)
    assert Outcome.to_arrow([rejected]).num_rows == 1


def test_a_relative_folder_of_videos_is_kept_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, [{"video": "a.mp4", "conversations": talk("q", "a")}])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert read_pairs(path, videos="films").facts.videos_root == str(tmp_path / "films")
    assert read_pairs(path, videos="~/films").facts.videos_root == "/home/someone/films"
    assert read_pairs(path, videos="s3://films").facts.videos_root == "s3://films"


def test_a_manifest_that_is_none_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(SourceError, match=r"manifest.json is no manifest of ours"):
        read_pairs(str(tmp_path))
