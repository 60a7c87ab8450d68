"""README.md of a data set: a dataset card for the hub, with front matter, counts, columns and how to load it."""

from collections.abc import Callable

import yaml
from matplotlib.figure import Figure

from pipeline.balance import STAGE as BALANCE
from pipeline.plots import density_histograms, shortcut_bars, to_png, tpl_by_length, tpl_histogram
from pipeline.publish import TABLES
from pipeline.report import environment
from pipeline.storage import Place, write, writing
from pipeline.tally import Tally
from schemas.manifest import Manifest
from schemas.outcome import Reason
from schemas.row import Record
from stages.algorithms.closed import ASKS

CARD = "README.md"
PLOTS: dict[str, Callable[[Tally], Figure]] = {
    "tpl_by_family.png": lambda tally: tpl_histogram(tally.points),
    "tpl_by_length.png": lambda tally: tpl_by_length(tally.points),
    "shortcuts.png": lambda tally: shortcut_bars(tally.shortcuts_before, tally.shortcuts),
    "density.png": lambda tally: density_histograms(tally.densities),
}
MEANING = {
    "sample_id": "names the sample; also the key into `scores`",
    "video_id": "sha256 of the video's bytes (remote files: of size and etag)",
    "clip_id": "names the clip; the key into `clips`",
    "group_id": "samples of one group ask about the same evidence in two directions, or about its twins",
    "uri": "the video, relative to the videos' root where it can be",
    "start_tick": "start of the clip, presentation ticks of the stream",
    "end_tick": "end of the clip, exclusive",
    "time_base_num": "seconds = ticks x num / den",
    "time_base_den": "see time_base_num",
    "frame_tick": "presentation times of the planned frames: frame1 of a text is the first of them",
    "family": "what kind of question; \"given\": it came with the video",
    "direction": "what is given -> what is asked",
    "answer_type": "text, choice, box, interval, order or number",
    "messages": "the conversation; `<video>` marks where the frames go",
    "program": "JSON: the query over the tracks that the answer follows from",
    "evidence": "JSON: tracks and planned frames (from 1) that the answer rests on",
    "reward": "JSON: how to mark an answer: exact, iou, interval_iou, choice, order, count or seconds",
    "tpl": "nats: what one frame, on average, lacks of what the film tells; null where not scored",
    "tpl_key": "nats: what even the best frame lacks",
    "hackability": "0..1: share of the film's information that a single frame has; null without such information",
    "verdict": "temporal, one-frame or ungrounded; null where not scored",
    "risk": "0..1: how near the label is to another one",
    "scorer": "id and revision of the model that measured TPL",
    "scorer_domain": "\"out\": the clip is unlike what the scorer knows, its scores say little",
    "describer": "who wrote the words: templates over tracks, or the manifest",
    "split": "train or validation, by video",
    "difficulty": "observations (a subject at a planned frame) that the answer rests on; null: it came with the video",
    "twin": "reversed, swapped, mirrored, frozen or slowed: the frames are shown otherwise; null: as they are",
    "twin_effect": "of a twin on the answer: must-change, must-not-change or unanswerable",
    "frame_order": "of a twin: planned frames (from 1) in the order shown, at the plan's times; null: in order",
    "mirrored": "of a twin: whether the frames are shown left for right",
    "reworded_by": "model and prompt hash of who said its questions in other words; null: the describer's words",
}  # fmt: skip


def write_card(out: Place, manifest: Manifest, tally: Tally) -> Place:
    """Writes out/README.md and the figures that it shows, under out/plots/."""
    path = out / CARD
    with writing(out / "plots"):
        for name, figure in PLOTS.items():
            write(out / "plots" / name, to_png(figure(tally)))
    with writing(path):
        write(path, render(manifest, tally).encode())
    return path


def render(manifest: Manifest, tally: Tally) -> str:
    """The card's Markdown, with its YAML front matter."""
    template = environment().get_template("card.md.j2")
    return template.render(
        front=yaml.safe_dump(_front(), sort_keys=False),
        manifest=manifest,
        tally=tally,
        what_is_asked=ASKS,
        dropped=tally.reasons["skip", BALANCE, str(Reason.IMBALANCE)],
        columns=[(name, kind, MEANING[name]) for name, kind in _columns(TABLES["data"])],
        others={name: _columns(row) for name, row in TABLES.items() if name != "data"},
        rows={table: manifest.rows(table) for table in TABLES},
        reasons_counted=sorted(tally.reasons.items(), key=lambda item: (item[0][0], -item[1], item[0])),
    )


def _front() -> dict[str, object]:
    configs = [{"config_name": table, "data_files": f"{table}/*.parquet"} for table in TABLES]
    return {
        "license": "unknown",
        "task_categories": ["video-text-to-text", "visual-question-answering"],
        "language": ["en"],
        "tags": ["video", "temporal-reasoning", "temporal-perplexity", "unhackable-temporal-rewarding"],
        "configs": [{**configs[0], "default": True}, *configs[1:]],
    }


def _columns(row: type[Record]) -> list[tuple[str, str]]:
    return [(field.name, _type(str(field.type))) for field in row.schema()]


def _type(arrow: str) -> str:
    """Arrow's type in fewer words."""
    short = arrow.replace(" not null", "").replace("item: ", "").replace("large_string", "string")
    return short if len(short) <= 60 else f"{short.split('<')[0]}<struct<...>>"
