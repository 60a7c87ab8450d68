"""What a build does, as YAML: one section a stage, its keys the stage's parameters; an unknown key is an error."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stages.ask_mllm import AskMllm
from stages.base import Stage
from stages.check_tracks import CheckTracks
from stages.compose_samples import ComposeSamples
from stages.decode_clip import DecodeClip
from stages.detect_objects import DetectObjects
from stages.filter_clips import FilterClips
from stages.name_tracks import NameTracks
from stages.probe_video import ProbeVideo
from stages.reword_samples import RewordSamples
from stages.score_captions import ScoreCaptions
from stages.score_samples import ScoreSamples
from stages.select_samples import SelectSamples
from stages.split_shots import SplitShots
from stages.track_masks import TrackMasks
from stages.track_objects import TrackObjects

RECIPES = Path(__file__).parent / "recipes"
AnyStage = TypeVar("AnyStage", bound=Stage[Any, Any, Any])


class RecipeError(ValueError):
    """The recipe cannot be used; the message names file, key and remedy."""


class Recipe(BaseModel):
    """Parameters of all stages. `seed`, `store_dir` and `store_gb` are handed to each stage that has them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    store_dir: str | None = None  # of decoded frames; default: a folder of this user's in the temporary directory
    store_gb: float | None = None
    workers: dict[str, int] = {}  # size of a stage's pool on Ray; default 1
    max_failed_share: float = Field(0.5, ge=0, le=1)  # of the videos: above it the build ends with exit code 3
    probe: ProbeVideo = ProbeVideo()
    split: SplitShots = SplitShots()
    decode: DecodeClip = DecodeClip()
    filter: FilterClips = FilterClips()
    detect: DetectObjects = DetectObjects()
    track: TrackObjects = TrackObjects()
    track_masks: TrackMasks | None = None  # in place of track: SAM2 follows the detector's boxes
    check: CheckTracks | None = None  # no section: no second detector is asked about the tracks
    name: NameTracks | None = None  # no section: tracks keep the detector's labels
    mllm: AskMllm | None = None  # no section, no question: nothing is sent anywhere
    score_captions: ScoreCaptions = ScoreCaptions()
    compose: ComposeSamples = ComposeSamples()
    reword: RewordSamples | None = None  # no section: questions stay in the composer's words
    score_samples: ScoreSamples = ScoreSamples()
    select: SelectSamples = SelectSamples()

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, values: Any) -> Any:
        """pydantic drops unknown keys of a dataclass without a word; a typo must not become a default."""
        for name, section in (values or {}).items():
            info = cls.model_fields.get(name)
            kinds = (info.annotation, *get_args(info.annotation)) if info else ()
            kind = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Stage)), None)
            if isinstance(section, dict) and kind:
                known = [f.name for f in fields(kind)]
                unknown = [key for key in section if key not in known]
                if unknown:
                    raise ValueError(f"{name}: unknown key {', '.join(unknown)}; known: {', '.join(known)}")
        return values

    @model_validator(mode="after")
    def _sections_fit(self) -> "Recipe":
        if self.track_masks and "track" in self.model_fields_set:
            raise ValueError("track_masks: takes the place of track; leave one of both out")
        if self.track_masks and self.detect.expert == "motion":
            raise ValueError("track_masks: masks are begun by a detector's boxes; set detect.expert to onnx or hf")
        if self.check and self.detect.expert == "motion":
            raise ValueError("check: the motion expert gives no labels to agree on; set detect.expert to onnx or hf")
        return self

    def stage(self, stage: AnyStage) -> AnyStage:
        """The stage with what the recipe says for all of them."""
        shared = {"seed": self.seed, "store_dir": self.store_dir, "store_gb": self.store_gb}
        own = {f.name for f in fields(stage)}
        return replace(stage, **{k: v for k, v in shared.items() if k in own and v is not None})


def load_recipe(name: str) -> Recipe:
    """A recipe by path, or by the name of one that comes with the project."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.yaml")))
        raise RecipeError(f"{path}: no such recipe; give a .yaml file or one of: {known}")
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text()) or {})
    except (ValidationError, yaml.YAMLError, TypeError) as error:
        raise RecipeError(f"{path}: {_readable(error)}") from error


def _readable(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in error.errors())
