"""lmms-eval 0.7.3 with its stumbling blocks out of the way. Executed by its own interpreter: PYTHON run.py ARGUMENTS.

The arguments are lmms-eval's. Nothing of the environment of this package is used there but `stages` and `schemas`.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def main() -> None:
    """One evaluation. lmms-eval ends with 0 whatever happens: who calls looks for its results."""
    os.environ.setdefault("HF_HOME", str(Path("~/.cache/huggingface").expanduser()))  # tasks fail where it is not set
    declare_operators()
    with tempfile.TemporaryDirectory(prefix="utr-lmms-") as alone:
        lay_out(Path(alone))
        evaluate()


def evaluate() -> None:
    import lmms_eval.evaluator as evaluator  # pyright: ignore[reportMissingImports]
    import lmms_eval.tasks as tasks  # pyright: ignore[reportMissingImports]
    from lmms_eval.models import MODEL_REGISTRY_V2  # pyright: ignore[reportMissingImports]
    from lmms_eval.models.registry_v2 import ModelManifest  # pyright: ignore[reportMissingImports]

    MODEL_REGISTRY_V2.register_manifest(ModelManifest(model_id="utr", simple_class_path="frames_model.Utr"))
    evaluator._collect_input_media = lambda doc, arguments: []  # pictures as base64 in every logged sample
    if own_tasks_only():  # else 1,873 files are read to find one task
        made = tasks.TaskManager.__init__
        tasks.TaskManager.__init__ = lambda self, *a, **k: made(self, *a, **{**k, "include_defaults": False})
    if "llava_hf" in sys.argv:
        mend_llava_hf()
    from lmms_eval.__main__ import cli_evaluate  # pyright: ignore[reportMissingImports]

    cli_evaluate()


def declare_operators() -> None:
    """The index's torchvision is linked for CUDA; beside a CPU build of torch its import stops at two operators that it
    describes and does not have (pytorch/vision#9085). Declared they are described; to call them stays an error."""
    import torch

    if torch.version.cuda is not None:
        return
    try:
        import torchvision  # pyright: ignore[reportMissingImports]  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def lay_out(alone: Path) -> None:
    """`stages` and `schemas` to be imported, without their neighbours, which may be another environment's packages."""
    for name in ("stages", "schemas"):
        (alone / name).symlink_to(HERE.parents[1] / name)
    sys.path.append(str(alone))


def own_tasks_only() -> bool:
    asked = sys.argv[sys.argv.index("--tasks") + 1] if "--tasks" in sys.argv else ""
    return asked == "utr_local"


def mend_llava_hf() -> None:
    """Frames of the local task as "videos", and chat templates that read lists of parts."""
    from frames_model import frames_at  # pyright: ignore[reportMissingImports]
    from lmms_eval.models.simple.llava_hf import LlavaHf  # pyright: ignore[reportMissingImports]

    load, start = LlavaHf.load_video, LlavaHf.__init__

    def load_video(self: Any, paths: Any, frames: int) -> Any:
        path = paths if isinstance(paths, str) else paths[0]
        return frames_at(path) if path.startswith("parquet://") else load(self, paths, frames)

    def begin(self: Any, *arguments: Any, **named: Any) -> None:
        start(self, *arguments, **named)
        self.tokenizer.apply_chat_template = in_parts(self.tokenizer)
        processor, vision = self._image_processor, self.config.vision_config
        if processor.num_image_tokens is None:  # said in processor_config.json, which not every checkpoint has
            processor.num_image_tokens = (vision.image_size // vision.patch_size) ** 2
            processor.vision_feature_select_strategy = self.config.vision_feature_select_strategy

    LlavaHf.load_video, LlavaHf.__init__ = load_video, begin


def in_parts(tokenizer: Any) -> Any:
    """Its `apply_chat_template`, which gives the template text as it reads it: a template of parts writes nothing of
    plain text, and the model would be asked nothing."""
    plain = tokenizer.apply_chat_template
    if "\x00" in plain([{"role": "user", "content": "\x00"}], tokenize=False):
        return plain

    def render(messages: list[dict[str, str]], **options: Any) -> Any:
        return plain([{**m, "content": parts(m["content"])} for m in messages], **options)

    return render


def parts(text: str) -> list[dict[str, str]]:
    """ "<video>\\nWhat?" as a video and a text."""
    for kind in ("video", "image"):
        if text.startswith(f"<{kind}>"):
            marks, _, asked = text.partition("\n")
            return [*({"type": kind} for _ in marks.split()), {"type": "text", "text": asked}]
    return [{"type": "text", "text": text}]


if __name__ == "__main__":
    main()
