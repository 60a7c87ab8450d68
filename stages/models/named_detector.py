"""Which detector a recipe names: its fields, checked when the recipe is read, and the detector that they open."""

from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, ClassVar

from stages.algorithms.expert_id import expert_id
from stages.algorithms.labels import read_labels
from stages.algorithms.prompt_words import KNOWN, PROMPTED, known_words
from stages.base import Resources
from stages.media.frame_store import ClipFrames
from stages.models.detector import Detector
from stages.models.expert_weights import BadExpert, ExpertWeights, find_weights
from stages.models.onnx_detector import Export, OnnxDetector

HF_MEMORY_GB = 6.0  # weights are 1 GB at most (Grounding DINO base, SAM2.1 large); the rest is an estimate for a batch
FIELDS_OF = {
    "motion": ("expert",),
    "onnx": ("expert", "model", "licence", "anchors", "labels", "pixels", "resize", "score", "classes"),
    "hf": ("expert", "model", "revision", "licence", "device", "score", "classes"),
}


@dataclass(frozen=True, slots=True)
class Sight:
    """What a worker looks with; the motion expert needs no detector."""

    frames: ClipFrames
    detector: Detector | None = None


@dataclass(frozen=True, kw_only=True)
class NamedDetector:
    """A recipe's fields of an expert that finds things; the motion expert is none of a model, and has no fields here.

    stages/models/onnx_detector.py says what an .onnx file must be, stages/models/hf_detector.py which models hf runs.
    """

    expert: str = "motion"  # "motion" | "onnx" | "hf"
    model: str = ""  # onnx: path of the .onnx file; hf: hub id, or path of a folder
    revision: str = ""  # hf: of a hub id: commit, tag or branch
    licence: str = ""  # of the weights; hf needs it where the model card states none
    device: str = "cpu"  # hf: "cpu" | "cuda" | "cuda:1"
    anchors: str = ""  # onnx: path of an .npy file, where the boxes of an SSD are codes
    labels: str = "coco91"  # onnx: or the path of a text file with a label a line
    pixels: tuple[float, float] = (-1.0, 1.0)  # onnx: what black and white are to the detector
    resize: str = "stretch"  # onnx: "stretch" | "letterbox"
    score: float = 0.3  # least; the scale belongs to the detector
    classes: tuple[str, ...] = ()  # labels that are kept, none: all; Grounding DINO and OWLv2 are asked for them

    __pydantic_config__: ClassVar[dict[str, str]] = {
        "extra": "forbid"
    }  # where a recipe nests one, a typo must not become a default

    def __post_init__(self) -> None:
        if self.expert not in FIELDS_OF:
            raise ValueError(f"no expert {self.expert!r}; there are: {', '.join(map(repr, FIELDS_OF))}")
        for field in fields(NamedDetector):
            owners = [expert for expert, names in FIELDS_OF.items() if field.name in names]
            if self.expert not in owners and getattr(self, field.name) != field.default:
                raise ValueError(f"{field.name} is for the expert {' or '.join(owners)}; this one is {self.expert}")
        if self.expert == "motion":
            return
        if not 0 < self.score < 1:
            raise ValueError(f"score={self.score:g} is no probability: give a number between 0 and 1")
        self.check_words(self.classes)

    def check_words(self, asked: tuple[str, ...]) -> None:
        """Raises ValueError where the detector has no such label."""
        words = self.words  # read also where nothing is asked: it tells whether the detector can be used
        unknown = [word for word in asked if word not in words]
        if unknown:
            source = self.labels if self.expert == "onnx" else self.model
            raise ValueError(f"{source} has no label {', '.join(map(repr, unknown))}")

    @property
    def words(self) -> tuple[str, ...]:
        """What the detector may call things."""
        if self.expert == "onnx":
            return self._export().labels
        return self.classes if self._kind() in PROMPTED else known_words(self._weights().config)

    @property
    def detector_id(self) -> str:
        """As rows name it; raises BadExpert where the weights or their licence cannot be told."""
        if self.expert == "onnx":
            name, revision, licence, package = (
                Path(self.model).stem,
                _revision(self._export()),
                self.licence,
                "onnxruntime",
            )
        else:
            weights = self._weights()
            name, revision, licence, package = weights.name, weights.revision, weights.licence, "transformers"
        library = f"{package} {installed_version(package)}"
        return expert_id(self.expert, name, revision, licence=licence, library=library)

    @property
    def detector_parameters(self) -> dict[str, Any]:
        """What gives its boxes their meaning: weights and labels by what they hold, wherever they lie."""
        found: dict[str, Any] = {"expert": self.expert, "score": self.score, "classes": self.classes}
        if self.expert == "onnx":
            found |= {"labels": self._export().labels, "pixels": self.pixels, "resize": self.resize}
        else:
            found |= {"device": self.device}
        return found | {"detector": self.detector_id}

    @property
    def resources(self) -> Resources:
        """Of a stage that looks with it: a detector of transformers holds more, and a GPU where it is given one."""
        if self.expert != "hf":
            return Resources(cpus=1, memory_gb=1.0)
        return Resources(cpus=1, gpus=float(self.device != "cpu"), memory_gb=HF_MEMORY_GB)

    def open_sight(self, frames: ClipFrames) -> Sight:
        """What a worker looks with: the detector is loaded with as many threads as the stage holds cores."""
        if self.expert == "motion":
            return Sight(frames)
        threads = max(1, int(self.resources.cpus))
        if self.expert == "onnx":
            return Sight(frames, OnnxDetector(self._export(), threads=threads))
        from stages.models.hf_detector import HfDetector

        return Sight(frames, HfDetector(self._weights(), self.classes, device=self.device, threads=threads))

    def _export(self) -> Export:
        return Export(
            model=self.model,
            anchors=self.anchors,
            labels=read_labels(self.labels),
            pixels=self.pixels,
            resize=self.resize,
        )

    def _weights(self) -> ExpertWeights:
        return find_weights(self.model, self.revision, self.licence)

    def _kind(self) -> str:
        kind = str(self._weights().config.get("model_type"))
        if kind not in (*PROMPTED, *KNOWN):
            raise BadExpert(f"model {self.model!r} is a {kind} model; supported are {', '.join((*PROMPTED, *KNOWN))}")
        if kind in PROMPTED and not self.classes:
            raise BadExpert(f"classes: {self.model} finds what it is asked for; name words, as in [person, car]")
        return kind


@cache
def _revision(export: Export) -> str:
    return export.revision
