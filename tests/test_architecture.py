"""The rules of CONTRIBUTING that a machine can check."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "schemas": {"schemas"},
    "stages": {"schemas", "stages"},
    "pipeline": {"schemas", "stages", "pipeline"},
    "jobs": {"schemas", "stages", "pipeline", "jobs"},
}
ONLY_IN = {
    "ray": ("pipeline/run_ray.py", "pipeline/ray_jobs.py", "pipeline/ray_train.py"),
    "torch": ("stages/models/", "pipeline/shapes/", "pipeline/train/", "pipeline/lmms/run.py"),
    "transformers": ("stages/models/", "pipeline/shapes/", "pipeline/train/"),
    "tokenizers": ("stages/models/", "pipeline/shapes/", "pipeline/train/"),
    "vllm": ("stages/models/",),
    "open_clip": ("stages/models/open_clip_embedder.py",),
    "deepspeed": ("pipeline/train/engine.py",),
    "onnxruntime": ("stages/models/",),
    "av": ("stages/media/",),
    "scenedetect": ("stages/media/", "stages/split_shots.py"),
    "argparse": ("jobs/",),
    "typer": ("jobs/",),
}
SCHEMAS_MAY_USE = {*sys.stdlib_module_names, "pyarrow", "schemas"}
FILES = sorted(f.relative_to(ROOT) for d in MAY_IMPORT for f in (ROOT / d).rglob("*.py"))
VERBS = sorted(f.stem for f in (ROOT / "stages").glob("*.py") if f.stem != "__init__")
BLOCKED = ("torch", "transformers", "vllm", "av", "ray", "open_clip", "onnxruntime")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_one_way(path: Path):
    bad = []
    for name in imported(ast.parse((ROOT / path).read_text())):
        top = name.split(".")[0]
        if top in set(MAY_IMPORT) - MAY_IMPORT[path.parts[0]] or top == "tests":
            bad.append(name)
        if top in ONLY_IN and not str(path).startswith(ONLY_IN[top]):
            bad.append(name)
        if path.parts[0] == "schemas" and top not in SCHEMAS_MAY_USE:
            bad.append(name)
    assert not bad, f"{path} may not import {bad}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_one_broad_except_and_printing_in_jobs_only(path: Path):
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        where = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            swallows = not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)  # cleaning up is fine
            broad = caught in {"everything", "Exception", "BaseException"} and swallows
            assert not broad or str(path) == "pipeline/worker.py", f"{where} catches {caught}: name the error"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and path.parts[0] != "jobs":
            assert node.func.id != "print", f"{where} prints: only jobs/ may"


def test_the_rule_sees_every_kind_of_import():
    text = "import a.b\nfrom c import d\nfrom e.f import g\ndef h():\n    import i\n"
    assert imported(ast.parse(text)) == ["a.b", "c", "e.f", "i"]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_the_packages_are_this_checkouts(package: str):
    module = __import__(package)
    assert Path(str(module.__file__)).resolve().is_relative_to(ROOT), f"another {package} shadows ours"


def test_stages_import_without_their_heavy_libraries():
    code = f"""
import importlib, sys
for name in {BLOCKED!r}:
    sys.modules[name] = None
for name in {VERBS!r}:
    importlib.import_module(f"stages.{{name}}")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def imported(tree: ast.Module) -> list[str]:
    """Names of modules that a file imports, at any depth."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write the whole name"
            names.append(node.module or "")
    return names
