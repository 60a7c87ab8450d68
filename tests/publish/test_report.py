"""Card and report tell what was published, stand alone, and show boxes where the subjects are."""

import base64
import io
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
import yaml
from rich.console import Console

from pipeline.card import MEANING, write_card
from pipeline.publish import TABLES, publish
from pipeline.report import funnel_table, render, write_report
from pipeline.strip import HEAD, strip
from pipeline.tally import A_CELL, MAX_LISTED, Exhibit, Tally
from schemas.manifest import Manifest
from schemas.sample import PublishedSample
from tests.publish.builders import bad_video, corpus, counted, facts, load_frames, make_clip, video_id_of


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest, Tally]:
    out, tally = tmp_path_factory.mktemp("built"), Tally()
    manifest = publish(out, counted(tally, corpus(7)), facts())
    write_card(out, manifest, tally)
    write_report(out, manifest, tally, load_frames)
    return out, manifest, tally


class Tags(HTMLParser):
    """Open tags that were never closed, and everything that a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        links = [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]
        self.loads += [link for link in links if not link.startswith("#")]
        if tag not in ("meta", "br", "link"):
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


def exhibit(*, domain: str = "in") -> Exhibit:
    clip = make_clip(video_id_of("one"), domain=domain)
    return Exhibit(clip, clip.samples[0], clip.sample_scores[0])


def test_counts_are_those_of_the_tables(built: tuple[Path, Manifest, Tally]):
    out, manifest, tally = built
    data = pl.read_parquet(out / "data/*.parquet")
    assert tally.families == Counter(data["family"].to_list())
    assert tally.directions == Counter(data["direction"].to_list())
    assert tally.splits == Counter(data["split"].to_list())
    assert len(tally.points) == data["tpl"].is_not_null().sum()
    assert tally.reasons.total() == manifest.rows("failures")
    assert tally.clips == {"in": 7, "out": 3}


def test_the_report_is_whole_and_needs_no_other_file(built: tuple[Path, Manifest, Tally]):
    page = (built[0] / "report.html").read_text()
    assert "SplitShots: 1,200 prompt tokens." in page
    tags = Tags()
    tags.feed(page)
    assert tags.stack == []
    assert len(tags.loads) > 12
    assert {load.split(",")[0] for load in tags.loads} == {"data:image/jpeg;base64"}
    assert "3 of 10 clips lie outside the scorer" in page
    assert "no video stream &lt;b&gt;" in page
    assert page.count('<article class="sample">') == 24


def test_no_warning_where_all_clips_are_in_the_domain():
    tally = Tally()
    list(counted(tally, corpus(2)))
    assert "lie outside the scorer" not in render(bare_manifest(), tally, load_frames)


def test_an_empty_build_has_a_report_and_a_card(tmp_path: Path):
    tally = Tally()
    manifest = publish(tmp_path, counted(tally, [bad_video("only")]), facts())
    write_card(tmp_path, manifest, tally)
    page = write_report(tmp_path, manifest, tally, load_frames).read_text()
    assert "No published sample was scored" in page
    assert "ReadError" in page


def test_the_gallery_covers_families_and_domains_and_is_the_same_twice(built: tuple[Path, Manifest, Tally]):
    shown = built[2].gallery()
    assert {e.sample.family for e in shown} == set(built[2].families)
    assert {e.clip.scorer.scorer_domain for e in shown} == {"in", "out"}
    assert len({e.sample.sample_id for e in shown}) == 24
    again = Tally()
    list(counted(again, corpus(7)))
    assert [e.sample.sample_id for e in again.gallery()] == [e.sample.sample_id for e in shown]


def test_the_tally_does_not_grow_with_the_corpus():
    tally = Tally()
    list(counted(tally, [bad_video(f"bad{k}") for k in range(2 * MAX_LISTED)]))
    list(counted(tally, corpus(7)))
    assert len(tally.listed["failure"]) == MAX_LISTED
    assert tally.reasons["failure", "ProbeVideo", "ReadError"] == 2 * MAX_LISTED + 1
    assert max(map(len, tally._cells.values())) <= A_CELL


def test_boxes_lie_on_their_subjects_though_the_frames_are_smaller():
    e = exhibit()
    frames = load_frames(e.clip)
    assert frames.shape[1] * 2 == e.clip.height_px
    drawn = strip(e, frames)
    seen = 0
    for picture in (p for line in drawn.lines for p in line.pictures):
        jpeg = cv2.imdecode(np.frombuffer(base64.b64decode(picture.jpeg), np.uint8), cv2.IMREAD_COLOR)
        assert jpeg is not None
        scale = jpeg.shape[0] / drawn.image_height
        ground = jpeg.astype(int).max(-1) < 90
        for mark in picture.marks:
            x1, y1 = round((mark.x - picture.x) * scale), round((mark.y - HEAD) * scale)
            x2, y2 = x1 + round(mark.width * scale), y1 + round(mark.height * scale)
            assert ground[y1:y2, x1:x2].mean() < 0.6
            ground[max(0, y1 - 2) : y2 + 2, max(0, x1 - 2) : x2 + 2] = True
            seen += 1
        assert ground.mean() > 0.99  # nothing coloured is left outside the boxes
    assert seen >= 8


def test_the_curve_stands_under_its_frames_and_high_is_up():
    e = exhibit()
    assert e.score is not None
    (line,) = strip(e, load_frames(e.clip)).lines
    for picture, dot in zip(line.pictures, line.dots, strict=True):
        assert picture.x < dot.x < picture.x + picture.width
    order = np.argsort([d.y for d in line.dots])
    assert list(order) == list(np.argsort([-v for v in e.score.curve]))


def test_frames_that_do_not_fit_the_plan_are_refused():
    e = exhibit()
    with pytest.raises(ValueError, match="8 frames are planned, got uint8"):
        strip(e, load_frames(e.clip)[:5])


def test_the_card_has_front_matter_counts_columns_and_figures(built: tuple[Path, Manifest, Tally]):
    out, manifest, _ = built
    text = (out / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert [c["data_files"] for c in front["configs"]] == [f"{table}/*.parquet" for table in TABLES]
    assert text.startswith("---\n")
    for name in PublishedSample.schema().names:
        assert f"| `{name}` |" in text
    assert f"| `data` | {manifest.rows('data')} |" in text
    assert "| trajectory |" in text
    assert "3 of 10 clips lie outside" in text
    for plot in re.findall(r"\((plots/\S+)\)", text):
        assert cv2.imread(str(out / plot)) is not None
    assert (out / "plots").is_dir()


def test_every_column_has_a_meaning_and_no_other():
    assert list(MEANING) == PublishedSample.schema().names


def test_the_funnel_in_the_console():
    file = io.StringIO()
    Console(file=file, width=100).print(funnel_table(facts().funnel))
    text = file.getvalue()
    assert re.search(r"ProbeVideo\W+6\W+7\W+5 too_short\W+1 ReadError\W+4\.2", text), text
    assert "SplitShots: 1,200 prompt tokens\n" in re.sub(" +\n", "\n", text)


def bare_manifest() -> Manifest:
    """A manifest of no shards."""
    return Manifest(
        format=1, engine="0.1.0", plan_fingerprint="abc", plan=(), packages=(), videos_root=None, scorers=(),
        funnel=(), shards=(), run=None,
    )  # fmt: skip
