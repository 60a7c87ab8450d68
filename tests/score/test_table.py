"""Means and standard errors of the sub-dataset table, on numbers that are known."""

import csv
import io
from dataclasses import fields
from types import SimpleNamespace

import pytest
from rich.console import Console

from pipeline.given_samples import scores_of
from pipeline.score_plots import tpl_against_length, tpl_boxes
from pipeline.score_table import Measured, clustered_se, mean_text, means_of, rich_table, table, to_csv, verdicts_of


def row(subset: str, uri: str, tpl: float, verdict: str | None = "temporal") -> Measured:
    return Measured(
        subset=subset, video_id=uri, n_tokens=4, n_frames=8, n_read=8, tpl_per_token=tpl, tpl_random_per_token=2 * tpl,
        tpl_key=-tpl, tpl_key_most=-tpl, verdict=verdict, scorer_domain="in",
    )  # fmt: skip


def part(subset: str, uri: str, tpl: float | None, most: float | None, verdict: str | None = None) -> Measured:
    """A text of which three frames of eight were read."""
    return Measured(
        subset=subset, video_id=uri, n_tokens=4, n_frames=8, n_read=3, tpl_per_token=tpl, tpl_random_per_token=None,
        tpl_key=None, tpl_key_most=most, verdict=verdict, scorer_domain="in",
    )  # fmt: skip


def test_with_one_text_a_video_the_error_is_the_usual_one() -> None:
    assert clustered_se([1.0, 2.0, 3.0, 6.0], list("abcd")) == pytest.approx(1.0801234497)  # std(ddof=1) / sqrt(4)


def test_texts_of_one_video_count_once() -> None:
    alone = clustered_se([1.0, 3.0], ["a", "b"])
    assert clustered_se([1.0, 3.0] * 10, ["a", "b"] * 10) == pytest.approx(alone)
    assert clustered_se([1.0, 3.0], ["a", "a"]) is None


def test_a_line_a_subset_highest_first_and_all_at_the_end() -> None:
    rows = [row("[low]", "a", 0.1), row("[low]", "b", 0.3, None), row("high", "a", 1.0, "one-frame")]
    lines = table(rows, verdicts_of(rows))
    assert [(line.subset, line.n) for line in lines] == [("high", 1), ("[low]", 2), ("(all)", 3)]
    low = lines[1]
    assert (low.tpl_per_token, low.tpl_random_per_token, low.tpl_key) == pytest.approx((0.2, 0.4, -0.2))
    assert {verdict: share for verdict, share, _ in low.verdicts} == {
        "temporal": 0.5,
        "not calibrated": 0.5,
        "one-frame": 0.0,
    }
    found = list(csv.DictReader(io.StringIO(to_csv(lines))))
    assert found[1]["subset"] == "[low]"
    assert (found[1]["tpl_per_token"], found[1]["tpl_per_token_se"], found[0]["tpl_per_token_se"]) == ("0.2", "0.1", "")
    console = Console(width=200)
    with console.capture() as capture:
        console.print(rich_table(lines))
    assert "[low]" in capture.get()
    assert "0.2000 ± 0.1000" in capture.get()
    assert "at most" not in capture.get()


def test_a_mean_of_which_a_text_has_no_value_is_none() -> None:
    rows = [part("a", "v", 1.0, 3.0), part("a", "w", None, 5.0, "one-frame"), part("b", "v", 0.5, None)]
    assert verdicts_of(rows) == ["not decided", "one-frame"]
    b, a, every = table(rows, verdicts_of(rows))  # a has no mean: it comes after b
    assert (b.tpl_per_token, b.tpl_key_most, b.tpl_key) == (0.5, None, None)
    assert (a.tpl_per_token, a.tpl_key_most, a.tpl_key_most_se) == (None, 4.0, pytest.approx(1.0))
    assert (every.tpl_per_token, every.tpl_key_most, every.n_read) == (None, None, 3.0)
    assert means_of([b, a, every]) == ["tpl_per_token", "tpl_key_most", "n_read"]
    assert [mean_text(line, "tpl_key_most") for line in (b, a)] == ["-", "4.000 ± 1.000"]
    assert next(csv.DictReader(io.StringIO(to_csv([a]))))["tpl_per_token"] == ""
    with pytest.raises(ValueError, match="without a TPL"):
        tpl_boxes(rows)


def test_figures_draw_every_subset() -> None:
    rows = [row(f"set{k}", f"v{k}", k / 10) for k in range(3)]
    labels = [text.get_text() for text in tpl_boxes(rows).axes[0].get_yticklabels()]
    assert labels == ["set0  (1)", "set1  (1)", "set2  (1)"]
    assert len(tpl_against_length(rows).axes[0].collections) == 3


def test_a_film_in_two_places_is_one_film() -> None:
    names = [field.name for field in fields(Measured)]
    assert "video_id" in names
    assert "uri" not in names


@pytest.mark.parametrize(
    ("domains", "says"),
    [
        (("in", "in"), "in"), (("unknown", "unknown"), "unknown"), (("in", "out"), "out"),
        (("unknown", "out"), "out"), (("in", "unknown"), "unknown"),
    ],
)  # fmt: skip
def test_a_sample_is_in_the_domain_that_its_turns_are_in(domains: tuple[str, ...], says: str) -> None:
    turn = SimpleNamespace(tpl=1.0, tpl_key=1.0, hackability=None, verdict=None, scorer="s", revision="1")
    rows = [SimpleNamespace(**vars(turn), scorer_domain=domain) for domain in domains]
    assert scores_of(rows).scorer_domain == says  # type: ignore[arg-type]


def test_a_sample_has_a_score_where_all_its_turns_have_one() -> None:
    same = {"hackability": None, "verdict": None, "scorer": "s", "revision": "1", "scorer_domain": "in"}
    rows = [SimpleNamespace(**same, tpl=1.5, tpl_key=None), SimpleNamespace(**same, tpl=2.0, tpl_key=1.0)]
    found = scores_of(rows)  # type: ignore[arg-type]
    assert (found.tpl, found.tpl_key) == (3.5, None)
