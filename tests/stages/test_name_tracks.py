"""Names out of a vocabulary: films of coloured boxes, and a model that knows colours."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.build_utr_data import build_plan
from jobs.recipe import RecipeError, load_recipe
from schemas.clip import Box, DetectedClip, Detection, Track, TrackedClip
from stages.algorithms.camera import IDENTITY
from stages.describe_tracks import DescribeTracks
from stages.media.frame_store import ClipFrames, FrameStore
from stages.models.embedder import EmbedderUnusable, weights_hash
from stages.name_tracks import NameTracks
from tests.fake_embedder import NAMER, FakeEmbedder
from tests.scenes import Film, clip_of

RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)
N_FRAMES = 20
Colour = Callable[[int], tuple[int, int, int]]  # by frame
MINE: dict[str, Any] = {
    "model": "ViT-B-32", "pretrained": "laion2b_s34b_b79k", "licence": "mit", "names": ("tomato", "leaf", "jay"),
    "min_margin": 0.5, "min_agreement": 0.8,
}  # fmt: skip


def always(rgb: tuple[int, int, int]) -> Colour:
    return lambda t: rgb


def by_turns(t: int) -> tuple[int, int, int]:
    return RED if t % 8 < 4 else GREEN


class Clips:
    """Clips of boxes whose colours are given, and the store that holds their frames."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *subjects: tuple[str, Colour, range], side: int = 40, clip_id: str = "a") -> TrackedClip:
        frames_THWC = np.full((N_FRAMES, 180, 320, 3), 90, np.uint8)
        tracks = []
        for k, (label, colour, lives) in enumerate(subjects):
            x, y = 10 + 60 * k, 60
            box: Box = (float(x), float(y), float(x + side), float(y + side))
            for t in lives:
                frames_THWC[t, y : y + side, x : x + side] = colour(t)
            tracks.append(_track(k + 1, label, {t: (box, colour(t)) for t in lives}))
        clip = clip_of(Film(frames_THWC=frames_THWC, boxes=[], fps=10), camera="static", clip_id=clip_id)
        FrameStore(self.folder, 2**30).put(f"film {clip_id}", clip.track_tick, frames_THWC)
        seen = clip.extend(DetectedClip, detections=(), camera_path=(IDENTITY,) * N_FRAMES, detector="given/1")
        row = seen.extend(TrackedClip, tracks=tuple(tracks), rejected=0, tracker="given/1")
        return TrackedClip(
            **{**{n: getattr(row, n) for n in TrackedClip.schema().names}, "video_id": f"film {clip_id}"}
        )


def _track(number: int, label: str, seen: dict[int, tuple[Box, tuple[int, int, int]]]) -> Track:
    observations = tuple(
        Detection(frame=t, box_xyxy_px=box, label=label, score=1.0, rgb=tuple(map(float, rgb)), fill=1.0, outline=0.8)
        for t, (box, rgb) in seen.items()
    )
    return Track(track_id=number, label=label, observations=observations)


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    return Clips(tmp_path / "store")


def process(
    clips: Clips, *rows: TrackedClip, embedder: FakeEmbedder | None = None, **changes: Any
) -> list[TrackedClip]:
    stage = NameTracks(**{**MINE, **changes})
    eyes = stage.ready(ClipFrames(str(clips.folder), 1.0), embedder or FakeEmbedder())
    try:
        return list(stage.process(eyes, rows))
    finally:
        stage.close(eyes)


ALL = range(N_FRAMES)


def test_a_sure_name_becomes_the_label_and_the_row_says_by_whom(clips: Clips) -> None:
    before = clips(("", always(RED), ALL), ("", always(BLUE), range(5, 15)))
    (row,) = process(clips, before)
    assert [t.label for t in row.tracks] == ["tomato", "jay"]
    assert [t.observations for t in row.tracks] == [t.observations for t in before.tracks]
    for track, frames in zip(row.tracks, ((0, 4, 8, 12, 16), (5, 7, 9, 11, 13)), strict=True):
        assert track.naming
        assert (track.naming.is_taken, track.naming.namer, track.naming.frames) == (True, NAMER, frames)
        assert track.naming.agreement == 1.0
        assert track.naming.margin > 0.99
        assert track.label_risk == pytest.approx(0.0, abs=0.02)
    assert TrackedClip.from_arrow(TrackedClip.to_arrow([row])) == [row]


def test_what_follows_calls_the_subject_by_its_name_and_says_who_gave_it(clips: Clips) -> None:
    (row,) = process(clips, clips(("", always(RED), ALL)))
    (told,) = DescribeTracks().process(None, [row])
    (path,) = told.trajectories
    assert (path.name, path.appearance, path.named_by) == ("tomato", "red", NAMER)
    (plain,) = DescribeTracks().process(None, [clips(("", always(RED), ALL))])
    assert plain.trajectories[0].named_by is None
    assert plain.trajectories[0].name == "square"


def test_crops_that_do_not_agree_leave_the_label_and_that_of_all_who_shared_it(clips: Clips) -> None:
    row = clips(("fruit", by_turns, ALL), ("fruit", always(BLUE), ALL), ("bird", always(BLUE), ALL))
    (named,) = process(clips, row)
    assert [t.label for t in named.tracks] == ["fruit", "fruit", "jay"]
    votes = [t.naming for t in named.tracks if t.naming]
    assert [(v.word, v.is_taken, v.agreement) for v in votes] == [
        ("tomato", False, 0.6), ("jay", False, 1.0), ("jay", True, 1.0),
    ]  # fmt: skip
    assert [t.label_risk for t in named.tracks[:2]] == [None, None]


def test_the_risk_of_a_name_is_that_of_its_vote_and_reaches_the_trajectory(clips: Clips) -> None:
    row = clips(("", lambda t: GREEN if t >= 16 else RED, ALL))  # the last of five crops says leaf
    (named,) = process(clips, row, min_agreement=0.6)
    (track,) = named.tracks
    assert track.label == "tomato"
    assert track.label_risk == pytest.approx((1 - 0.6) / (1 - 0.5), abs=0.01)  # the margin is .8 - .2
    (told,) = DescribeTracks().process(None, [named])
    assert told.trajectories[0].risk == track.label_risk


def test_a_word_of_others_competes_and_names_nothing(clips: Clips) -> None:
    row = clips(("", always(RED), ALL))
    (named,) = process(clips, row, names=("leaf", "jay"), others=("tomato",))
    assert named.tracks[0].label == ""
    assert named.tracks[0].naming
    assert (named.tracks[0].naming.word, named.tracks[0].naming.is_taken) == ("tomato", False)


def test_a_detectors_label_that_the_model_knows_and_denies_is_doubted(clips: Clips) -> None:
    row = clips(("leaf", always(RED), ALL), ("leaf", by_turns, ALL), ("jay", always(BLUE), ALL))
    (named,) = process(clips, row)
    assert [(t.label, t.label_risk) for t in named.tracks] == [("leaf", 1.0), ("leaf", None), ("jay", None)]


def test_attributes_that_are_sure_stand_beside_the_name(clips: Clips) -> None:
    row = clips(("", always(RED), ALL), ("", by_turns, ALL))
    (named,) = process(clips, row, attributes={"skin": ("rind", "tomato"), "hue": ("leaf", "jay")})
    told = [[(a.group, a.word) for a in t.naming.attributes] for t in named.tracks if t.naming]
    assert told == [[("skin", "tomato")], []]


def test_who_comes_back_after_a_gap_is_not_merged_but_doubted(clips: Clips) -> None:
    row = clips(("", always(RED), range(0, 8)), ("", always(RED), range(12, 20)), ("", always(BLUE), range(12, 20)))
    (named,) = process(clips, row, min_similarity=0.9)
    assert [t.label for t in named.tracks] == ["tomato", "tomato", "jay"]
    assert [[s.track_id for s in t.naming.lookalikes] for t in named.tracks if t.naming] == [[2], [1], []]
    assert [t.label_risk == 1.0 for t in named.tracks] == [True, True, False]
    (unasked,) = process(clips, row)
    assert all(t.naming and not t.naming.lookalikes and t.label_risk != 1.0 for t in unasked.tracks)


def test_a_subject_too_small_to_be_seen_keeps_its_label(clips: Clips) -> None:
    embedder = FakeEmbedder()
    (named,) = process(clips, clips(("bird", always(RED), ALL), side=20), embedder=embedder)
    (track,) = named.tracks
    assert track.naming
    assert (track.label, track.label_risk, track.naming.word, track.naming.embedding) == ("bird", None, "", b"")
    assert embedder.asked == []


def test_two_crops_give_no_name(clips: Clips) -> None:
    (named,) = process(clips, clips(("bird", always(RED), range(3, 5))))
    assert named.tracks[0].label == "bird"
    assert named.tracks[0].naming
    assert (named.tracks[0].naming.word, named.tracks[0].naming.agreement) == ("tomato", 1.0)


def test_no_other_clip_shares_a_batch(clips: Clips) -> None:
    rows = [clips(("", always(RED), ALL), clip_id="a"), clips(("", always(GREEN), ALL), clip_id="b")]
    embedder = FakeEmbedder()
    together = process(clips, *rows, embedder=embedder)
    assert embedder.asked == [5, 5]
    assert together == [process(clips, row)[0] for row in rows]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"licence": ""}, r"licence: open_clip does not say .* Write it as their model card has it"),
        ({"pretrained": ""}, "an architecture needs a tag or a file of weights as pretrained"),
        ({"model": "hf-hub:org/name"}, "a folder or hf-hub:org/name has its own"),
        ({"names": ["car"]}, r"names and others: \['car'\] is no vocabulary: give two different words"),
        ({"names": ["car", "bus"], "others": ["car"]}, "is no vocabulary"),
        ({"names": [], "others": ["sky", "wall"]}, "names: no word"),
        ({"names": ["car", "circle"]}, "names: circle is what the motion expert calls outlines"),
        ({"attributes": {"hue": ["red"]}}, r"hue: \['red'\] is no vocabulary"),
        ({"template": "a photo"}, "must hold {}"),
        ({"min_margin": 1.0}, "min_margin=1: a number between 0 and 1"),
        ({"min_similarity": 1.5}, r"min_similarity=1\.5: a number between 0 and 1"),
        ({"crops": 0}, "crops=0: at least 1"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(wrong: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=rf"mine\.yaml: name: .*{says}"):
        load_recipe(_recipe(tmp_path, wrong))


def test_a_border_has_no_default(tmp_path: Path) -> None:
    text = {k: v for k, v in MINE.items() if k != "min_margin"}
    with pytest.raises(RecipeError, match=r"name\.min_margin: Field required"):
        load_recipe(_recipe(tmp_path, {}, text))


def test_a_recipe_with_the_section_names_tracks_before_they_are_described(tmp_path: Path) -> None:
    names = [name for name, _ in build_plan(load_recipe("default"), []).named]
    named = [name for name, _ in build_plan(load_recipe(_recipe(tmp_path, {})), []).named]
    assert "NameTracks" not in names
    assert [name for name in named if name != "NameTracks"] == names
    assert named.index("NameTracks") == named.index("DescribeTracks") - 1


def test_a_missing_library_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.models.embedder.find_spec", lambda _: None)
    with pytest.raises(EmbedderUnusable, match=r"name: open_clip is not installed: `make experts`"):
        _ = NameTracks(**MINE).fingerprint


def test_weights_are_known_by_what_they_hold(tmp_path: Path) -> None:
    for folder, weights in (("here", b"1"), ("there", b"1"), ("other", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "open_clip_model.safetensors").write_bytes(weights)
        (tmp_path / folder / "open_clip_config.json").write_text("{}")
    here, there, other = (weights_hash(str(tmp_path / folder)) for folder in ("here", "there", "other"))
    assert here == there != other
    assert len(weights_hash(str(tmp_path / "here" / "open_clip_config.json"))) == 12


def _recipe(folder: Path, changes: dict[str, Any], base: dict[str, Any] | None = None) -> str:
    path = folder / "mine.yaml"
    path.write_text(json.dumps({"name": {**(base or MINE), **changes}}))
    return str(path)
