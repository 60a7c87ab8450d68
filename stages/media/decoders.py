"""Who decodes: PyAV, or one that a recipe names instead and that every file is checked for."""

from importlib.metadata import PackageNotFoundError, version

from stages.media.child import ReadError

PYAV, DECORD, TORCHCODEC = "pyav", "decord", "torchcodec"
PACKAGES = {PYAV: "av", DECORD: "decord", TORCHCODEC: "torchcodec"}
REMEDY = {
    PYAV: "pip install utr-engine",
    DECORD: "pip install 'utr-engine[decord]'",
    TORCHCODEC: "pip install 'utr-engine[torchcodec]', and FFmpeg's libraries: apt-get install ffmpeg",
}


def require_decoder(decoder: str) -> None:
    """Raises ValueError where no decoder has the name, or what to install where it is not there."""
    if decoder not in PACKAGES:
        raise ValueError(f"decoder {decoder!r} is none of {', '.join(PACKAGES)}")
    try:
        release(decoder)
    except ReadError as error:
        raise ValueError(str(error)) from error


def release(decoder: str) -> str:
    """Package and version of a decoder; raises ReadError with what to install where it is not there."""
    package = PACKAGES[decoder]
    try:
        return f"{package}-{version(package)}"
    except PackageNotFoundError as error:
        raise ReadError(f"decoder {decoder} is not installed; {REMEDY[decoder]}") from error
