"""What arguments of commands share."""

from pathlib import Path

import typer


def local_folder(text: str | Path) -> Path:
    """A folder of this machine: as a path, s3://bucket would be a folder "s3:". Defaults come as paths."""
    if "://" in str(text):
        raise typer.BadParameter(f"{text}: give a folder of this machine; only build and verify take URLs")
    return Path(text)
