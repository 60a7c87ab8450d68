"""What a user points at, as sources: a folder of videos, one video, or a manifest; on disk or in a store."""

import csv
import json
import os
import posixpath
from collections.abc import Iterator
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage import NoStore, Place, place, store_errors
from schemas.video import QA, Source

VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".webm", ".mov", ".avi", ".ts"})
MANIFEST_SUFFIXES = frozenset({".jsonl", ".csv", ".parquet"})
COLUMNS = ("uri", "caption", "qa")


class SourceError(ValueError):
    """The input cannot be read as a list of videos. The message names the place and the remedy."""


def read_sources(videos: str) -> list[Source]:
    """Sources in a fixed order. A video that a manifest names need not exist: that becomes its failure."""
    path = _place(videos)
    try:
        sources = _read(videos, path)
    except store_errors() as error:
        raise SourceError(f"{videos}: cannot be read: {error}; check address, credentials and rights") from error
    for location in {s.location.split("://")[0]: s.location for s in sources if "://" in s.location}.values():
        _place(location)  # a package that is missing is missing for all of them
    return sources


def videos_root(videos: str) -> Place:
    """What relative uris of these sources are relative to: the folder, or the folder of the file."""
    path = _place(videos)
    return path if path.is_dir() else path.parent


def _place(text: str) -> Place:
    try:
        path = place(text)
    except NoStore as error:
        raise SourceError(str(error)) from error
    return path.expanduser().absolute() if isinstance(path, Path) else path


def _read(videos: str, path: Place) -> list[Source]:
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise SourceError(f"{videos}: no such file or folder")
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return [_source(path.name, path.parent, {})]
    if path.suffix.lower() not in MANIFEST_SUFFIXES:
        known = ", ".join(sorted(VIDEO_SUFFIXES | MANIFEST_SUFFIXES))
        raise SourceError(f"{path}: neither a folder, a video nor a manifest; the suffixes known are {known}")
    return _manifest(path)


def _folder(folder: Place) -> list[Source]:
    if isinstance(folder, Path):
        found = [_source(file.relative_to(folder).as_posix(), folder, {}) for file in sorted(_walk(folder, set()))]
    else:  # a key is what it is, also one that holds "..", so it is not looked at as a path
        uris = sorted(_listed(folder.path, list(folder.fs.find(folder.path))))
        root = _url(folder)
        found = [Source(uri=uri, location=f"{root}/{uri}", caption=None, qa=()) for uri in uris]
    if not found:
        known = ", ".join(sorted(VIDEO_SUFFIXES))
        raise SourceError(f"{folder}: no video in it; looked for {known}, in subfolders too")
    return found


def _listed(folder: str, keys: list[str]) -> Iterator[str]:
    """The videos among the keys of a store, relative to the folder."""
    for key in keys:
        uri = key.removeprefix(folder.rstrip("/")).removeprefix("/")
        hidden = any(part.startswith(".") for part in uri.split("/"))
        if not hidden and PurePosixPath(uri).suffix.lower() in VIDEO_SUFFIXES:
            yield uri


def _walk(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Videos at any depth, through links to folders, each real folder once."""
    if folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, seen)
        elif entry.suffix.lower() in VIDEO_SUFFIXES:
            yield entry


def _manifest(path: Place) -> list[Source]:
    read = {".jsonl": read_jsonl, ".csv": read_csv, ".parquet": read_parquet}[path.suffix.lower()]
    sources: list[Source] = []
    first: dict[str, str] = {}  # uri -> where it stood
    for where, values in read(path):
        unknown = sorted(set(values) - set(COLUMNS))
        if unknown:
            raise SourceError(f"{where}: unknown column {', '.join(unknown)}; known are {', '.join(COLUMNS)}")
        source = _parse(where, values, path.parent)
        if source.uri in first:
            raise SourceError(f"{where}: {source.uri} stands already at {first[source.uri]}; keep one of them")
        first[source.uri] = where
        sources.append(source)
    if not sources:
        raise SourceError(f"{path}: no rows in it; write one video a row, with a column 'uri'")
    return sources


def _parse(where: str, values: dict[str, Any], base: Place) -> Source:
    uri, caption = values.get("uri"), values.get("caption")
    if not isinstance(uri, str) or not uri.strip():
        raise SourceError(f"{where}: no uri; write the video's path or URL in the column 'uri'")
    if caption is not None and not isinstance(caption, str):
        raise SourceError(f"{where}: caption is {caption!r}; write text, or leave it out")
    return _source(uri.strip(), base, {"caption": caption or None, "qa": _qa(where, values.get("qa"))})


def _source(uri: str, base: Place, given: dict[str, Any]) -> Source:
    uri = uri.removeprefix("file://")
    published, location = _located(uri, base) if isinstance(base, Path) else _located_by_url(uri, _url(base))
    return Source(uri=published, location=location, caption=given.get("caption"), qa=given.get("qa", ()))


def _located(uri: str, base: Path) -> tuple[str, str]:
    """How a video is called, and where it lies."""
    if "://" in uri:
        return uri, uri
    location = os.path.normpath(base / uri)
    inside = Path(location).is_relative_to(base)
    published = location if Path(uri).is_absolute() and not inside else os.path.relpath(location, base)
    return Path(published).as_posix(), location


def _url(folder: Place) -> str:
    """The root of a bucket is written with a slash at its end, a folder without."""
    return str(folder).rstrip("/")


def _located_by_url(uri: str, base: str) -> tuple[str, str]:
    """The same for a manifest in a store; an absolute path is one of the machine that decodes."""
    if "://" in uri:
        return uri.removeprefix(f"{base}/"), uri
    if uri.startswith("/"):
        return uri, uri
    protocol, folder = base.split("://", 1)
    path = posixpath.normpath(posixpath.join(folder, uri))
    return posixpath.relpath(path, folder), f"{protocol}://{path}"


def _qa(where: str, value: Any) -> tuple[QA, ...]:
    if value is None:
        return ()
    wanted = 'a list like [{"question": "...", "answer": "..."}]'
    if not isinstance(value, list):
        raise SourceError(f"{where}: qa is {value!r}; write {wanted}")
    pairs = []
    for pair in value:
        if not (isinstance(pair, dict) and set(pair) == {"question", "answer"}):
            raise SourceError(f"{where}: qa holds {pair!r}; write {wanted}")
        if not all(isinstance(text, str) and text.strip() for text in pair.values()):
            raise SourceError(f"{where}: qa holds {pair!r}; question and answer are texts that are not empty")
        pairs.append(QA(question=pair["question"], answer=pair["answer"]))
    return tuple(pairs)


def read_jsonl(path: Place) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        values = parse_json(f"{path}:{number}", line)
        if not isinstance(values, dict):
            raise SourceError(f'{path}:{number}: {line.strip()[:80]} is no object; write {{"uri": "..."}}')
        yield f"{path}:{number}", values


def read_csv(path: Place) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(StringIO(read_text(path), newline=""), strict=True)
    try:
        for row in reader:
            where = f"{path}:{reader.line_num}"
            if None in row or None in row.values():
                raise SourceError(f"{where}: not as many cells as the header has; quote cells that hold a comma")
            values: dict[str, Any] = {name: cell or None for name, cell in row.items()}
            if row.get("qa"):
                values["qa"] = parse_json(f"{where}, column qa", row["qa"])
            yield where, values
    except csv.Error as error:
        raise SourceError(f"{path}:{reader.reader.line_num}: not readable as csv: {error}") from error


def read_parquet(path: Place) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open("rb") as file:
            table = pq.read_table(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceError(f"{path}: not readable as Parquet: {error}") from error
    for number, values in enumerate(table.to_pylist(), start=1):
        yield f"{path}, row {number}", values


def read_text(path: Place) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error


def parse_json(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SourceError(f"{where}: not JSON: {error}") from error
