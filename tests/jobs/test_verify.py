"""What verify must catch, with all hashes and row counts made right again after the change."""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.verify import NotADataSet, verify

Rows = list[dict[str, Any]]
Change = Callable[[Rows], None]


def _rewrite(out: Path, table: str, change: Change, *, count: bool = True) -> None:
    """Changes the rows of a table and makes the manifest agree with the new bytes, and with the new number of rows."""
    manifest = json.loads((out / "manifest.json").read_text())
    for shard in manifest["shards"]:
        if shard["table"] != table:
            continue
        path = out / shard["path"]
        old = pq.read_table(path)
        rows = old.to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, schema=old.schema), path)
        shard["bytes"] = path.stat().st_size
        shard["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        shard["rows"] = len(rows) if count else shard["rows"]
    (out / "manifest.json").write_text(json.dumps(manifest))


def _of(rows: Rows, family: str) -> dict[str, Any]:
    return next(r for r in rows if r["family"] == family)


def _in_answer(family: str, old: str, new: str) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        row = next(r for r in rows if r["family"] == family and old in r["messages"][1]["content"])
        row["messages"][1]["content"] = row["messages"][1]["content"].replace(old, new, 1)

    return change


def _box_in_track(rows: Rows) -> None:
    """A box in the middle of a track, and in bounds, moves by 5 % of the frame."""
    track = rows[0]["tracks"][0]
    for moment in track["moments"]:
        x1, y1, x2, y2 = moment["box_xyxy_px"]
        shift = (
            -0.05 * track["frame_width_px"] if x1 > 0.05 * track["frame_width_px"] else 0.05 * track["frame_width_px"]
        )
        moment["box_xyxy_px"] = [x1 + shift, y1, x2 + shift, y2]


def _label(rows: Rows) -> None:
    rows[0]["tracks"][0]["appearance"] = "small purple"


def _action(rows: Rows) -> None:
    for moment in rows[0]["tracks"][0]["moments"]:
        moment["action"] = "moving up left" if moment["action"] != "moving up left" else "moving down"


def _frame_time(rows: Rows) -> None:
    """All samples of a clip agree on wrong frame times."""
    clip = rows[0]["clip_id"]
    for row in rows:
        if row["clip_id"] == clip:
            row["frame_tick"] = [*row["frame_tick"][:-1], row["frame_tick"][-1] - 1]


def _start(rows: Rows) -> None:
    clip = _of(rows, "record")["clip_id"]
    for row in rows:
        if row["clip_id"] == clip:
            row["start_tick"] -= 100_000


def _option(rows: Rows) -> None:
    row = _of(rows, "direction")
    row["messages"][0]["content"] = row["messages"][0]["content"].replace("(A) ", "(A) not ")


def _swapped_options(rows: Rows) -> None:
    """Options in another order, in text and program, but the letter stays."""
    row = _of(rows, "direction")
    program = json.loads(row["program"])
    program["options"] = program["options"][1:] + program["options"][:1]
    row["program"] = json.dumps(program, sort_keys=True, separators=(",", ":"))


def _tpl(rows: Rows) -> None:
    next(r for r in rows if r["tpl"] is not None)["tpl"] += 0.5


def _twice(rows: Rows) -> None:
    rows.append(rows[0])


def _set(family: str, /, **values: Any) -> Change:
    """Other values in the first scored sample of a family."""

    def change(rows: Rows) -> None:
        next(r for r in rows if r["family"] == family and (r["tpl"] is not None)).update(values)

    return change


def _set_clip(uri: str, /, **values: Any) -> Change:
    """Other values in all samples of the first clip of a video."""

    def change(rows: Rows) -> None:
        clip_id = min(r["clip_id"] for r in rows if r["uri"] == uri)
        for row in rows:
            if row["clip_id"] == clip_id:
                row.update(values)

    return change


def _set_video(uri: str, /, **values: Any) -> Change:
    def change(rows: Rows) -> None:
        for row in rows:
            if row["uri"] == uri:
                row.update(values)

    return change


LIE = [{"role": "user", "content": "<video>\nWho?"}, {"role": "assistant", "content": "A lie."}]
GIVEN = {"family": "given", "describer": "manifest", "program": '{"op":"given","source":"manifest"}',
         "direction": "question->answer", "answer_type": "text", "evidence": '{"frames":[],"tracks":[]}', "risk": 0.0,
         "reward": '{"kind":"exact","value":"A lie."}', "messages": LIE}  # fmt: skip


def _split(rows: Rows) -> None:
    for row in rows:
        row["split"] = "train" if row["split"] == "validation" else "validation"


def _other_group(rows: Rows) -> None:
    timeline = _of(rows, "timeline")
    row = next(r for r in rows if r["family"] == "record" and r["clip_id"] == timeline["clip_id"])
    row["group_id"] = timeline["group_id"]


def _group_of_another_clip(rows: Rows) -> None:
    rows[0]["group_id"] = rows[-1]["group_id"]


def _renamed(rows: Rows) -> None:
    rows[0]["sample_id"] = rows[0]["sample_id"].replace("-p00-", "-p01-")


def _early_end(rows: Rows) -> None:
    """The clip ends after its last planned frame, but before its last moment."""
    clip = _of(rows, "record")["clip_id"]
    for row in rows:
        if row["clip_id"] == clip:
            row["end_tick"] = row["frame_tick"][-1] + 1


def _without(keep: Callable[[dict[str, Any]], bool]) -> Change:
    """The first row that is not to be kept is dropped."""

    def change(rows: Rows) -> None:
        rows.remove(next(r for r in rows if not keep(r)))

    return change


def _without_first_clip(rows: Rows) -> None:
    del rows[0]


def _moments(rows: Rows) -> None:
    moments = rows[0]["tracks"][0]["moments"]
    moments[3], moments[4] = moments[4], moments[3]


def _box_outside(rows: Rows) -> None:
    rows[0]["tracks"][0]["moments"][1]["box_xyxy_px"][2] = 5000.0


def _same_track_twice(rows: Rows) -> None:
    rows[0]["tracks"].append(rows[0]["tracks"][0])


def _event(**values: Any) -> Change:
    def change(rows: Rows) -> None:
        next(r for r in rows if r["events"])["events"][0].update(values)

    return change


def _second_event(rows: Rows) -> None:
    events = next(r for r in rows if r["events"])["events"]
    events.append({**events[0], "kind": "leaves" if events[0]["kind"] == "disappears" else "disappears"})


def _no_timeline(rows: Rows) -> None:
    rows[0]["captions"] = [c for c in rows[0]["captions"] if c["kind"] != "timeline"]


def _caption_text(rows: Rows) -> None:
    rows[0]["captions"][0]["text"] = "Nothing happens."


def _caption_describer(rows: Rows) -> None:
    rows[0]["captions"][0]["describer"] = "manifest"


def _no_caption_score(rows: Rows) -> None:
    del rows[0]["caption_scores"][0]


def _caption_score(**values: Any) -> Change:
    def change(rows: Rows) -> None:
        rows[0]["caption_scores"][0].update(values)

    return change


def _logprobs(context: str, captions: bool, value: float) -> Change:
    """All log-probabilities in one context, of captions or of samples, get one value."""

    def change(rows: Rows) -> None:
        for row in rows:
            if row["context"] == context and ("/caption/" in row["sample_id"]) == captions:
                row["token_logprob"] = [value] * len(row["token_logprob"])

    return change


def _frames_read(rows: Rows) -> None:
    """One context of one sample is gone."""
    rows.remove(next(r for r in rows if r["context"] == "frame" and "/caption/" not in r["sample_id"]))


def _scores_of_a_caption(rows: Rows) -> None:
    rows[:] = [r for r in rows if not r["sample_id"].endswith("/caption/timeline")]


def _scores_of_a_stranger(rows: Rows) -> None:
    rows.append({**rows[0], "sample_id": rows[0]["sample_id"] + "9"})


def _tokens_of_one_context(rows: Rows) -> None:
    rows[0]["token_id"] = [t + 1 for t in rows[0]["token_id"]]


def _tokens_of_captions(rows: Rows) -> None:
    for row in rows:
        if "/caption/" in row["sample_id"]:
            row["token_id"] = [t + 1 for t in row["token_id"]]


def _fewer_tokens(rows: Rows) -> None:
    for row in rows:
        row["token_id"] = row["token_id"][:-1]


MUTATIONS: dict[str, tuple[str, Change, str]] = {  # table, change, what the problem says
    "a box in an answer": ("data", _in_answer("where", ":[", ":[1"), "messages: published"),
    "a box in a track": ("clips", _box_in_track, "messages: published|box is not"),
    "a label in an answer": ("data", _in_answer("record", "It is the ", "It is the very "), "messages: published"),
    "a label in a track": ("clips", _label, "the global caption does not follow"),
    "an action in a track": ("clips", _action, "the global caption does not follow"),
    "a time in an answer": ("data", _in_answer("when", ".", ".9"), "messages: published"),
    "a frame time": ("data", _frame_time, "lie in one step"),
    "the clip's start": ("data", _start, "messages: published"),
    "an option's text": ("data", _option, "messages: published"),
    "the options' order": ("data", _swapped_options, "messages: published"),
    "a program of no language": ("data", _set("record", program="{"), "no JSON object"),
    "a sample twice": ("data", _twice, "occurs twice"),
    "a lie as given": ("data", _set("record", family="given", messages=LIE), "family: published given"),
    "a lie as given by all": ("data", _set("record", **{**GIVEN, "program": "{}"}), "no answer on its clip"),
    "a lie with a given program": ("data", _set("record", **GIVEN), "whether it came with its video"),
    "a composed sample of the user": ("data", _set("record", describer="manifest"), "describer: published manifest"),
    "another describer": ("data", _set("record", describer="somebody"), "describer: published somebody"),
    "another given answer": ("data", _set("given", messages=LIE), "reward: published"),
    "another family": ("data", _set("caption", family="timeline"), "family: published timeline"),
    "a score": ("data", _tpl, "tpl: published"),
    "a score without its key": ("data", _set("record", tpl=99.0, tpl_key=None), "null: tpl_key"),
    "a key": ("data", _set("record", tpl_key=0.3), "tpl_key: published 0.3"),
    "a score without verdict": ("data", _set("record", verdict=None), "null: .*verdict"),
    "a score for nothing": ("data", _set("record", tpl=None, tpl_key=None, hackability=None, verdict=None),
                            "or the reverse"),
    "a hackability": ("data", _set("record", hackability=0.123), "hackability: published 0.123"),
    "a verdict": ("data", _set("record", verdict="of course"), "verdict: published of course"),
    "a scorer": ("data", _set_clip("one.mp4", scorer="other@1"), "scorer is not in the manifest"),
    "a domain": ("data", _set_clip("one.mp4", scorer_domain="out"), "clips have scorer_domain 'out'"),
    "a sample's domain": ("data", _set("record", scorer_domain="out"), "about scorer_domain"),
    "splits": ("data", _split, "split: published"),
    "a group of two subjects": ("data", _other_group, "different subjects"),
    "a group of another clip": ("data", _group_of_another_clip, "group_id .* is not of its clip"),
    "a sample's name": ("data", _renamed, "sample_id is not of its clip"),
    "a clip's uri": ("data", _set_clip("more.mp4", uri="other.mp4"), "more than one uri"),
    "a video's uri": ("data", _set_video("two.mp4", uri="other.mp4"), "not that of its video: other.mp4"),
    "another video's uri": ("data", _set_video("one.mp4", uri="two.mp4"), "uri of more than one video"),
    "a video's id": ("data", _set_clip("one.mp4", video_id="0" * 64), "is not of its video 0000"),
    "a clip's end before its moments": ("data", _early_end, "outside|frames do not ascend inside"),
    "a clip's end after the next start": ("data", _set_clip("more.mp4", end_tick=10**9), "before .* ends"),
    "a dropped scored sample": ("data", _without(lambda r: r["tpl"] is None), "has scores, but is no caption"),
    "a dropped sample": ("data", _without(lambda r: r["family"] != "trajectory"), "neither published nor listed"),
    "a dropped failure": ("failures", _without(lambda r: r["reason"] != "no_subject"), "0 rows are listed"),
    "another reason": ("failures", lambda rows: rows[0].update(reason="too_long"), "manifest counts"),
    "a clip twice": ("clips", _twice, "occurs twice"),
    "a dropped clip": ("clips", _without_first_clip, "is not in clips/"),
    "the order of moments": ("clips", _moments, "moments of track 1 do not ascend"),
    "a box outside": ("clips", _box_outside, "is not in the frame"),
    "a track twice": ("clips", _same_track_twice, r"track ids \[1(, \d+)*, 1\] are not unique"),
    "an event's time": ("clips", _event(tick=26_000), "not the last of the track"),
    "an event of nobody": ("clips", _event(track_id=77), "there is no such track"),
    "an event of no kind": ("clips", _event(kind="explodes"), "there is no such kind"),
    "a second event": ("clips", _second_event, "two events at one end"),
    "a caption less": ("clips", _no_timeline, r"captions: published \['global'"),
    "a caption": ("clips", _caption_text, "the global caption does not follow"),
    "a caption's author": ("clips", _caption_describer, "global caption is not by 'manifest'"),
    "a caption's score less": ("clips", _no_caption_score, "caption scores: published"),
    "a caption's gain": ("clips", _caption_score(text_gain=9.0), "text_gain: published 9.0"),
    "a caption's random frame": ("clips", _caption_score(tpl_random=9.0), "tpl_random: published 9.0"),
    "a caption's verdict": ("clips", _caption_score(verdict="fine"), "verdict: published fine"),
    "log-probabilities of captions": ("scores", _logprobs("frame", True, -1.0), "curve: published"),
    "log-probabilities without video": ("scores", _logprobs("text", False, 0.0), "verdict: published|hackability"),
    "log-probabilities that are none": ("scores", _logprobs("text", False, math.nan), "give no score"),
    "a context less": ("scores", _frames_read, r"missing \[\('frame', 0\)\]"),
    "a context twice": ("scores", _twice, r"too many \[\('frame', 0\)\]"),
    "a caption not read": ("scores", _scores_of_a_caption, "or the reverse"),
    "scores of a stranger": ("scores", _scores_of_a_stranger, "has scores, but is no caption"),
    "token ids of a context": ("scores", _tokens_of_one_context, "other token ids in one context"),
    "token ids of captions": ("scores", _tokens_of_captions, "token_id: published"),
    "a token less": ("scores", _fewer_tokens, "give no score"),
}  # fmt: skip


@pytest.fixture
def out(built: Path, tmp_path: Path) -> Path:
    """A copy of the build that may be spoilt."""
    shutil.copytree(built, tmp_path / "out", ignore=shutil.ignore_patterns("_work"))
    return tmp_path / "out"


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_mutation_with_right_hashes_is_caught(what: str, out: Path) -> None:
    table, change, says = MUTATIONS[what]
    _rewrite(out, table, change)
    found = [p.what for p in verify(out).problems]
    assert any(re.search(says, text) for text in found), found[:5]


@pytest.mark.parametrize("table", ["data", "clips", "scores", "failures"])
def test_rewriting_alone_is_no_problem(table: str, out: Path) -> None:
    _rewrite(out, table, lambda rows: None)
    assert verify(out).problems == ()


def test_a_verdict_of_a_scorer_for_another_number_of_frames_is_caught(out: Path) -> None:
    """Thresholds hold for the number of frames that they were measured with."""
    manifest = json.loads((out / "manifest.json").read_text())
    for scorer in manifest["scorers"]:
        scorer["n_frames"] *= 2
    (out / "manifest.json").write_text(json.dumps(manifest))
    found = [p.what for p in verify(out).problems]
    assert any(re.search("verdict: published .*, recomputed None", text) for text in found), found[:5]


@pytest.mark.parametrize("table", ["data", "clips", "scores", "failures"])
def test_another_number_of_rows_than_sealed_is_caught(table: str, out: Path) -> None:
    _rewrite(out, table, _without(lambda row: False), count=False)
    assert any(re.search(rf"{table}/.*: \d+ rows, manifest says", p.what) for p in verify(out).problems)


def test_a_sample_is_given_by_its_program_alone(out: Path) -> None:
    before = verify(out)
    _rewrite(out, "data", _set("record", family="given", describer="manifest"))
    after = verify(out)
    assert (after.given, after.proved) == (before.given, before.proved - 1)


@pytest.mark.parametrize("table", ["data", "clips", "scores", "failures"])
def test_a_changed_byte_is_caught(table: str, out: Path) -> None:
    path = next((out / table).glob("*.parquet"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert any(path.name in p.what and "sha256 differs" in p.what for p in verify(out).problems)


def test_a_shard_that_is_no_parquet_is_named(out: Path) -> None:
    path = next((out / "scores").glob("*.parquet"))
    path.write_bytes(b"scores")
    found = [p.what for p in verify(out).problems]
    assert any(text.startswith("scores/ cannot be read") for text in found), found


def test_a_folder_without_a_build_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotADataSet, match=r"no manifest.json"):
        verify(tmp_path)
