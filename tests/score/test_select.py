"""`utr select`: records come out unchanged, in their own format and as shards, with two matched controls."""

import csv
import json
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from jobs.cli_score import app
from jobs.console import Console
from jobs.score_tpl import Options, score
from pipeline.formats.read import read_pairs
from pipeline.formats.write import write_records
from schemas.sample import PublishedSample
from tests.score.conftest import shards, talk

CHEAP = Options(shuffles=0, segments=False, certificate=False)
WORDS = ("red", "blue", "green", "yellow")


def records() -> list[dict[str, object]]:
    """Sixteen records about three films, in two sub-datasets, some with two turns."""
    found: list[dict[str, object]] = []
    for k in range(16):
        said = ["<video>\nWhich subjects are there?", f"a {('small', 'large')[k % 2]} {WORDS[k % 4]} circle."]
        more = ["Is it there?", "Yes."] if k >= 12 else []
        found.append({"id": k, "video": f"{'abc'[k % 3]}.mp4", "data_source": "xy"[k // 8],
                      "conversations": talk(*said, *more), "note": {"kept": [1.5, None, "ü"]}})  # fmt: skip
    found.append({"id": 16, "video": "a.mp4", "conversations": talk("a", "b.", "c", " ")})
    return found


@pytest.fixture(scope="module")
def scored(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = films / "pool.json"
    path.write_text(json.dumps(records()))
    out = tmp_path_factory.mktemp("pool") / "out"
    score(read_pairs(str(path)), out, CHEAP, runner="local", workers=1, resume=False, console=Console(quiet=True))
    return out


def select(out: Path, to: Path, *more: str, share: str = "50%") -> str:
    command = ["select", str(out), "--top-tpl", share, "--to", str(to), "--keep-ungrounded", *more]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0, found.output
    return found.output


def chosen(to: Path, name: str) -> list[dict[str, object]]:
    return json.loads((to / name / "records/pool.json").read_text())


def test_records_are_unchanged_and_in_their_order(scored: Path, tmp_path: Path) -> None:
    select(scored, tmp_path / "to")
    every = records()
    for name in ("top", "random", "low"):
        found = chosen(tmp_path / "to", name)
        assert found == [every[int(str(r["id"]))] for r in found]
        assert [r["id"] for r in found] == sorted(int(str(r["id"])) for r in found)


def test_the_sets_are_matched_and_the_top_is_higher(scored: Path, tmp_path: Path) -> None:
    text = select(scored, tmp_path / "to")
    sets = {name: chosen(tmp_path / "to", name) for name in ("top", "random", "low")}
    kinds = {
        name: Counter((r["data_source"], len(r["conversations"])) for r in found)  # type: ignore[arg-type]
        for name, found in sets.items()
    }
    assert kinds["top"] == kinds["random"] == kinds["low"] == {("x", 2): 4, ("y", 2): 2, ("y", 4): 2}
    assert not {r["id"] for r in sets["top"]} & {r["id"] for r in sets["low"]}
    scores = pl.read_parquet(scored / "scores/*.parquet").group_by("record").agg(pl.sum("tpl_key"), pl.sum("n_tokens"))
    value = {r: v / n for r, v, n in scores.iter_rows()}

    def mean(name: str) -> float:
        return sum(value[int(str(r["id"]))] for r in sets[name]) / len(sets[name])

    assert mean("top") > mean("low")
    assert "8 of 16 records in each of top, random and low" in text
    assert "1 records left out: a turn was not scored" in text
    account = json.loads((tmp_path / "to/selection.json").read_text())
    assert (account["asked"], account["selected"], account["could_not_be_matched"]) == (8, 8, 0)
    assert "| low | 8 |" in (tmp_path / "to/README.md").read_text()


def test_shards_hold_the_same_records_with_their_scores(scored: Path, tmp_path: Path) -> None:
    select(scored, tmp_path / "to")
    rows = pl.read_parquet(scored / "scores/*.parquet")
    for name in ("top", "random", "low"):
        (path,) = (tmp_path / "to" / name / "data").glob("*.parquet")
        samples = PublishedSample.from_arrow(pq.read_table(path))
        by_id = {f"pool-{int(str(r['id'])):07d}": r for r in chosen(tmp_path / "to", name)}
        assert {s.sample_id for s in samples} == set(by_id)
        for sample in samples:
            said = [turn["value"] for turn in by_id[sample.sample_id]["conversations"]]  # type: ignore[union-attr]
            assert [m.content for m in sample.messages] == said
            mine = rows.filter(pl.col("sample_id") == sample.sample_id)
            assert sample.tpl == pytest.approx(mine["tpl"].sum())
            assert list(sample.frame_tick) == mine["frame_tick"][0].to_list()
        manifest = json.loads((tmp_path / "to" / name / "manifest.json").read_text())
        assert [(s["table"], s["rows"]) for s in manifest["shards"]] == [("data", len(samples))]


def test_the_same_command_gives_the_same_files(scored: Path, tmp_path: Path) -> None:
    select(scored, tmp_path / "one", "--seed", "3")
    select(scored, tmp_path / "two", share="25%")  # what an earlier selection left is replaced
    select(scored, tmp_path / "two", "--seed", "3")
    assert [chosen(tmp_path / "one", s) for s in ("top", "random", "low")] == [
        chosen(tmp_path / "two", s) for s in ("top", "random", "low")
    ]
    assert shards(tmp_path / "one/top") == shards(tmp_path / "two/top")


def test_ungrounded_records_are_left_out_and_counted(scored: Path, tmp_path: Path) -> None:
    verdicts = pl.read_parquet(scored / "scores/*.parquet").group_by("record").agg(pl.col("verdict").unique())
    n = sum(v == ["ungrounded"] for r, v in verdicts.iter_rows() if r != 16)
    found = CliRunner().invoke(app, ["select", str(scored), "--top-tpl", "0.5", "--to", str(tmp_path / "to")])
    account = json.loads((tmp_path / "to/selection.json").read_text())
    assert n > 0
    assert account["left_out"]["ungrounded"] == n
    assert account["pool"] == 16 - n
    assert f"{n} records left out: ungrounded" in found.output


def test_an_input_that_has_changed_is_refused(films: Path, scored: Path, tmp_path: Path) -> None:
    path = films / "pool.json"
    before = path.read_text()
    path.write_text(before.replace("red", "rot"))
    found = CliRunner().invoke(app, ["select", str(scored), "--top-tpl", "50%", "--to", str(tmp_path / "to")])
    path.write_text(before)
    assert found.exit_code == 2
    assert "has changed since it was scored" in found.output
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--top-tpl", "half"], "--top-tpl half: a share like 50% or 0.5"),
        (["--top-tpl", "150%"], "--top-tpl 150%: a share like"),
        (["--top-tpl", "50%", "--by", "mood"], "--by is one of subset, kind, all"),
        (["--top-tpl", "50%", "--rank", "nll"], "--rank is one of tpl_key, tpl, tpl_random"),
    ],
)
def test_a_wrong_command_is_refused(scored: Path, tmp_path: Path, arguments: list[str], says: str) -> None:
    found = CliRunner().invoke(app, ["select", str(scored), "--to", str(tmp_path / "to"), *arguments])
    assert (found.exit_code, says in found.output) == (2, True), found.output


def test_other_folders_are_left_alone(scored: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("mine")
    found = CliRunner().invoke(app, ["select", str(scored), "--top-tpl", "50%", "--to", str(tmp_path)])
    assert (found.exit_code, "holds holiday.jpg and is no selection" in found.output) == (2, True)
    empty = CliRunner().invoke(app, ["select", str(tmp_path), "--top-tpl", "50%", "--to", str(tmp_path / "x")])
    assert (empty.exit_code, "is no finished output of `utr score`" in empty.output) == (2, True)


def test_what_a_selection_is_made_of_is_never_removed(films: Path, tmp_path: Path) -> None:
    (tmp_path / "to/top/sets").mkdir(parents=True)
    (tmp_path / "to/selection.json").write_text("{}")  # as an earlier selection left it
    path = tmp_path / "to/top/sets/three.json"
    path.write_text(json.dumps(records()[:3]))
    given = read_pairs(str(path), videos=str(films))
    score(given, tmp_path / "out", CHEAP, runner="local", workers=1, resume=False, console=Console(quiet=True))
    before = path.read_bytes()
    found = CliRunner().invoke(app, ["select", str(tmp_path / "out"), "--top-tpl", "50%", "--to", str(tmp_path / "to")])
    assert (found.exit_code, "is read from it; choose another --to" in found.output) == (2, True), found.output
    assert path.read_bytes() == before


def test_a_selection_inside_its_input_is_refused(films: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/three.json").write_text(json.dumps(records()[:3]))
    given = read_pairs(str(tmp_path / "in"), videos=str(films))
    score(given, tmp_path / "out", CHEAP, runner="local", workers=1, resume=False, console=Console(quiet=True))
    to = tmp_path / "in/to"
    found = CliRunner().invoke(app, ["select", str(tmp_path / "out"), "--top-tpl", "50%", "--to", str(to)])
    assert (found.exit_code, "would become part of the input" in found.output) == (2, True), found.output
    assert not to.exists()


def test_a_selection_that_breaks_off_leaves_the_earlier_one(
    scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "to"
    select(scored, to, share="25%")
    before = {p.relative_to(to): p.read_bytes() for p in to.rglob("*") if p.is_file()}
    calls: list[object] = []

    def broken(*given: object) -> list[Path]:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write_records(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("jobs.select_pairs.write_records", broken)
        found = CliRunner().invoke(app, ["select", str(scored), "--top-tpl", "50%", "--to", str(to)])
    assert found.exit_code == 130
    assert {p: (to / p).read_bytes() for p in before} == before
    select(scored, to)  # and the next one clears up
    assert sorted(p.name for p in to.iterdir()) == ["README.md", "low", "random", "selection.json", "top"]


def test_records_of_a_file_called_manifest_lie_beside_the_manifest(films: Path, tmp_path: Path) -> None:
    path = films / "manifest.json"
    path.write_text(json.dumps(records()[:3]))
    score(read_pairs(str(path)), tmp_path / "out", CHEAP, runner="local", workers=1, resume=False,
          console=Console(quiet=True))  # fmt: skip
    select(tmp_path / "out", tmp_path / "to", share="100%")
    path.unlink()
    assert len(json.loads((tmp_path / "to/top/records/manifest.json").read_text())) == 3
    assert json.loads((tmp_path / "to/top/manifest.json").read_text())["shards"]


def test_records_of_which_no_turn_was_scored_are_counted(films: Path, tmp_path: Path) -> None:
    path = tmp_path / "lost-t.json"
    lost = [{**records()[0], "video": "none.mp4"}, {"id": 9, "video": "a.mp4"}]
    path.write_text(json.dumps([*records()[:2], *lost]))
    given = read_pairs(str(path), videos=str(films))
    score(given, tmp_path / "out", CHEAP, runner="local", workers=1, resume=False, console=Console(quiet=True))
    assert "2 records left out: no turn was scored" in select(tmp_path / "out", tmp_path / "to")


def test_a_folder_whose_name_looks_like_a_pattern(films: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "two.json", tmp_path / "run[1]/out"
    path.write_text(json.dumps(records()[:2]))
    given = read_pairs(str(path), videos=str(films))
    score(given, out, CHEAP, runner="local", workers=1, resume=False, console=Console(quiet=True))
    assert "1 of 2 records in each" in select(out, tmp_path / "to", "--by", "all")


def test_half_a_character_in_a_note_comes_out_as_it_went_in(films: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps([{**records()[0], "note": "\ud83d ü"}]))
    given = read_pairs(str(path), videos=str(films))
    score(given, tmp_path / "out", CHEAP, runner="local", workers=1, resume=False, console=Console(quiet=True))
    select(tmp_path / "out", tmp_path / "to", share="100%")
    (found,) = json.loads((tmp_path / "to/top/records/one.json").read_text())
    assert found["note"] == "\ud83d ü"


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_manifests_come_out_as_they_went_in(films: Path, tmp_path: Path, suffix: str) -> None:
    rows = [{"uri": f"{'abc'[k % 3]}.mp4", "caption": f'A {w}, "big" dog ü.'} for k, w in enumerate(WORDS)]
    path = films / f"manifest.{suffix}"
    if suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    elif suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["uri", "caption"])
            writer.writeheader()
            writer.writerows(rows)
    given = read_pairs(str(path))
    score(given, tmp_path / "out", CHEAP, runner="local", workers=1, resume=False, console=Console(quiet=True))
    select(tmp_path / "out", tmp_path / "to", share="100%")
    target = tmp_path / "to/top/records" / path.name
    if suffix == "jsonl":
        assert target.read_text() == path.read_text() + "\n"
    elif suffix == "parquet":
        assert pq.read_table(target).equals(pq.read_table(path))
    else:
        with target.open(newline="") as file:
            assert list(csv.DictReader(file)) == rows


def test_shards_are_scored_with_their_own_frames_and_keep_their_columns(
    films: Path, scored: Path, tmp_path: Path
) -> None:
    select(scored, tmp_path / "to", share="100%")
    build = tmp_path / "to/top"
    samples = PublishedSample.from_arrow(pq.read_table(next((build / "data").glob("*.parquet"))))
    given = read_pairs(str(build))
    assert (given.facts.format, given.facts.videos_root) == ("shards", str(films))
    score(given, tmp_path / "out", CHEAP, runner="local", workers=1, resume=False, console=Console(quiet=True))
    rows = {r["pair_id"]: r for r in pl.read_parquet(tmp_path / "out/scores/*.parquet").iter_rows(named=True)}
    for sample in samples:
        row = rows[f"{sample.sample_id}-t00"]
        assert (tuple(row["frame_tick"]), row["start_tick"], row["end_tick"]) == (
            sample.frame_tick,
            sample.start_tick,
            sample.end_tick,
        )
    before = pl.read_parquet(scored / "scores/*.parquet").filter(pl.col("record") != 16)
    assert sorted(r["nll_video"] for r in rows.values()) == pytest.approx(sorted(before["nll_video"]), abs=1e-3)
    select(tmp_path / "out", tmp_path / "again", "--by", "all")
    kept = PublishedSample.from_arrow(pq.read_table(next((tmp_path / "again/top/data").glob("*.parquet"))))
    by_id = {s.sample_id: s for s in samples}
    assert len(kept) == 8
    assert all(s.messages == by_id[s.sample_id].messages and s.split == by_id[s.sample_id].split for s in kept)
