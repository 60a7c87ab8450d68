"""What arguments of commands share."""

from pathlib import Path

import typer


def local_folder(text: str) -> Path:
    """A folder of this machine: as a path, s3://bucket would be a folder that is called "s3:"."""
    if "://" in text:
        raise typer.BadParameter(f"{text}: give a folder of this machine; only build and verify take URLs")
    return Path(text)
