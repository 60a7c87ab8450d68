"""Name tracks with words of your own: a model of pictures and words looks at a few crops of each, and they vote.

A name that is sure becomes the track's label, so all that follows treats it like a detector's, and claims as little.
Words of attributes are kept beside it and are in no question: nobody has checked them against a truth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from schemas.clip import Attribute, Detection, Naming, Track, TrackedClip
from stages.algorithms.crops import best_seen, cut_out
from stages.algorithms.describe import OBJECT, SHAPES
from stages.algorithms.naming import DOUBTED, Border, Vote, label_risk, mean_vector, same_subject, taken, vote
from stages.base import Resources, Stage
from stages.media.child import Limits
from stages.media.frame_store import STORE_DIR, STORE_GB, ClipFrames
from stages.models.embedder import Embedder, open_clip_version, weights_hash

MARGIN = 0.1  # of a box, on each side of a crop: boxes cut into the outline, and a little ground tells the scale
LICENCE = (
    "licence: open_clip does not say in a form that a program can read under which licence weights are. Write it as "
    "their model card has it, as in `licence: mit`: it goes into every row"
)


@dataclass(frozen=True, slots=True)
class Eyes:
    """What a worker looks with: frames, the model, and the words in its space."""

    frames: ClipFrames
    embedder: Embedder
    names_VD: np.ndarray
    attributes_VD: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Look:
    """What the crops of a track came to."""

    seen: tuple[Detection, ...]
    vectors_ND: np.ndarray
    vote: Vote
    attributes: tuple[Attribute, ...]


@dataclass(frozen=True, kw_only=True)
class NameTracks(Stage[TrackedClip, TrackedClip, Eyes]):
    """Adds `naming`, and the label and label risk that follow from it.

    The words of `names` must exclude each other ("taxi" and "car" do not); `others` compete and name nothing. No border
    has a default: each holds for one model and vocabulary, and the votes in the rows show what to choose.
    """

    model: str  # of open_clip: "ViT-B-32", "hf-hub:org/name", or a folder with open_clip_config.json
    pretrained: str = ""  # a tag of open_clip or a file of weights, where `model` is the name of an architecture
    licence: str = ""  # of the weights
    names: tuple[str, ...]
    others: tuple[str, ...] = ()
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by group: {material: [wooden, metal]}
    template: str = "a photo of a {}."
    attribute_template: str = "a photo of something {}."
    crops: int = 5  # of a track: as many frames as the shortest has at 10 a second
    min_crop_px: int = 32  # of the stored frame, shorter side: one patch of a ViT-B-32 before it is enlarged
    min_margin: float
    min_agreement: float
    min_similarity: float | None = None  # cosine from which two tracks may be one subject; null: nobody asks
    device: str = "cpu"  # or cuda
    store_dir: str = STORE_DIR
    store_gb: float = STORE_GB

    version: ClassVar[int] = 1
    operational: ClassVar[frozenset[str]] = frozenset({"store_dir", "store_gb"})

    def __post_init__(self) -> None:
        if not self.licence.strip():
            raise ValueError(LICENCE)
        if (self.is_folder or self.model.startswith("hf-hub:")) == bool(self.pretrained):
            raise ValueError(
                f"model={self.model!r} with pretrained={self.pretrained!r}: an architecture needs a tag or a file of "
                "weights as pretrained, a folder or hf-hub:org/name has its own"
            )
        if "{}" not in self.template or "{}" not in self.attribute_template:
            raise ValueError("template and attribute_template must hold {}, where the word goes")
        self._check_words()
        for what in ("min_margin", "min_agreement", "min_similarity"):
            value = getattr(self, what)
            if value is not None and not 0 < value < 1:
                raise ValueError(f"{what}={value:g}: a number between 0 and 1 is asked for")
        for what in ("crops", "min_crop_px"):
            if getattr(self, what) < 1:
                raise ValueError(f"{what}={getattr(self, what)}: at least 1 is asked for")

    def _check_words(self) -> None:
        for what, words in {"names and others": (*self.names, *self.others), **self.attributes}.items():
            if len(words) < 2 or len(set(words)) < len(words) or not all(w.strip() for w in words):
                raise ValueError(f"{what}: {list(words)} is no vocabulary: give two different words at least")
        if not self.names:
            raise ValueError("names: no word; give those that tracks may be called")
        if own := sorted({*SHAPES, OBJECT} & {*self.names}):
            raise ValueError(f"names: {', '.join(own)} is what the motion expert calls outlines; use another word")

    @property
    def is_folder(self) -> bool:
        """Whether the model lies in a folder of its own."""
        return Path(self.model).is_dir()

    @property
    def resources(self) -> Resources:  # type: ignore[override]
        """Weights are 0.6 GB (ViT-B-32) to 4 GB (ViT-bigG) in float32."""
        return Resources(cpus=1.0, gpus=float(self.device != "cpu"), memory_gb=4.0)

    @property
    def parameters(self) -> dict[str, Any]:
        """Weights that lie here by what they hold; raises EmbedderUnusable where open_clip is not installed."""
        paths = {
            what: path for what in ("model", "pretrained") if (path := getattr(self, what)) and Path(path).exists()
        }
        held = {what: weights_hash(path) for what, path in paths.items()}
        return {**super().parameters, **held, "open_clip": open_clip_version()}

    def open(self) -> Eyes:
        from stages.models.open_clip_embedder import load_embedder

        model = f"local-dir:{self.model}" if self.is_folder else self.model
        embedder = load_embedder(model, self.pretrained, licence=self.licence, device=self.device)
        return self.ready(ClipFrames(self.store_dir, self.store_gb, Limits()), embedder)

    def ready(self, frames: ClipFrames, embedder: Embedder) -> Eyes:
        """The state over any embedder: its space holds the words from now on."""
        groups = {
            group: embedder.texts([self.attribute_template.format(word) for word in words])
            for group, words in self.attributes.items()
        }
        names_VD = embedder.texts([self.template.format(word) for word in (*self.names, *self.others)])
        return Eyes(frames, embedder, names_VD, groups)

    def close(self, eyes: Eyes) -> None:
        eyes.frames.close()

    def process(self, eyes: Eyes, clips: Sequence[TrackedClip], /) -> list[TrackedClip]:
        return [self._named(eyes, clip) for clip in clips]

    def _named(self, eyes: Eyes, clip: TrackedClip) -> TrackedClip:
        looks = self._looks(eyes, clip)
        border = Border(self.min_margin, self.min_agreement)
        votes = [look.vote for look in looks]
        sure = [vote.word if vote.is_sure(border) and vote.word in self.names else None for vote in votes]
        is_taken = taken([track.label for track in clip.tracks], sure)
        tracks = tuple(
            self._told(track, look, name if take else None, eyes.embedder.id)
            for track, look, name, take in zip(clip.tracks, looks, sure, is_taken, strict=True)
        )
        return replace(clip, tracks=self._doubted(tracks))

    def _looks(self, eyes: Eyes, clip: TrackedClip) -> list[Look]:
        """One a track; the crops of a clip go through the model together, and no other clip's."""
        frames_THWC, size_px = eyes.frames.load(clip), (clip.width_px, clip.height_px)
        least_px = self.min_crop_px * max(clip.width_px / clip.store_width_px, clip.height_px / clip.store_height_px)
        seen = [tuple(best_seen(track.observations, self.crops, size_px, least_px)) for track in clip.tracks]
        crops = [
            cut_out(frames_THWC[o.frame], o.box_xyxy_px, size_px, margin=MARGIN) for picked in seen for o in picked
        ]
        vectors_ND = eyes.embedder.pictures(crops) if crops else np.empty((0, eyes.names_VD.shape[1]), np.float32)
        ends = np.cumsum([len(picked) for picked in seen])
        return [self._look(eyes, s, v) for s, v in zip(seen, np.split(vectors_ND, ends[:-1]), strict=True)]

    def _look(self, eyes: Eyes, seen: tuple[Detection, ...], vectors_ND: np.ndarray) -> Look:
        def voted(words: Sequence[str], words_VD: np.ndarray) -> Vote:
            return vote(eyes.embedder.scale * vectors_ND @ words_VD.T, words)

        border = Border(self.min_margin, self.min_agreement)
        votes = {group: voted(words, eyes.attributes_VD[group]) for group, words in self.attributes.items()}
        sure = tuple(
            Attribute(group=group, word=v.word, margin=v.margin, agreement=v.agreement)
            for group, v in votes.items()
            if v.is_sure(border)
        )
        return Look(seen, vectors_ND, voted((*self.names, *self.others), eyes.names_VD), sure)

    def _told(self, track: Track, look: Look, name: str | None, namer: str) -> Track:
        border, v = Border(self.min_margin, self.min_agreement), look.vote
        risk = label_risk(track.label, name, v, border, self.names)
        naming = Naming(
            word=v.word,
            margin=v.margin,
            agreement=v.agreement,
            is_taken=name is not None,
            attributes=look.attributes,
            lookalikes=(),
            frames=tuple(o.frame for o in look.seen),
            embedding=mean_vector(look.vectors_ND),
            namer=namer,
        )
        return replace(track, label=track.label if name is None else name, label_risk=risk, naming=naming)

    def _doubted(self, tracks: tuple[Track, ...]) -> tuple[Track, ...]:
        """The tracks with their lookalikes: of neither is anything asked that only one subject can be meant by."""
        if self.min_similarity is None:
            return tracks
        alike = same_subject(tracks, self.min_similarity)
        return tuple(
            replace(t, label_risk=DOUBTED, naming=replace(t.naming, lookalikes=alike[t.track_id]))
            if t.track_id in alike and t.naming
            else t
            for t in tracks
        )
