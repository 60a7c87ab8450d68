"""An input of any format as sources: each video once, with all texts about it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.formats import llava, manifest, shards, videochat2
from pipeline.formats.records import Entry, Gathered, Place, Rejected, Values
from pipeline.shards import sha256
from pipeline.sources import SourceError, parse_json, read_csv, read_jsonl, read_parquet
from schemas.pair import InputFacts, InputFile, PairSource, Text

FORMATS = ("manifest", "llava", "videochat2", "image", "shards")
TABLES = frozenset({".jsonl", ".csv", ".parquet"})
SPLITS = frozenset({"train", "training", "val", "validation", "test", "train_mc", "train_qa", "annotations", "anno"})


@dataclass(frozen=True, slots=True)
class PairInput:
    """All that an input asks for. Rows in: the texts of the sources, and what was rejected."""

    sources: tuple[PairSource, ...]  # in the order of the input
    rejected: tuple[Rejected, ...]
    facts: InputFacts
    alone: tuple[Text, ...] = ()  # texts about no medium

    @property
    def rows(self) -> int:
        return len(self.rejected) + len(self.alone) + sum(len(source.texts) for source in self.sources)


def read_pairs(
    data: str, *, format: str = "auto", videos: str | None = None, text_only: bool = False
) -> PairInput:  # fmt: skip
    """Reads an input; raises SourceError, with place and remedy, where it is none of the format or gives no pair.
    `text_only` takes LLaVA's records without a medium, too: there is nothing about them to score."""
    path = Path(data).expanduser().absolute()
    if not path.exists():
        raise SourceError(f"{data}: no such file or folder")
    format = detect(path) if format == "auto" else format
    if format not in FORMATS:
        raise SourceError(f"--format {format}: auto, {', '.join(FORMATS)}")
    gathered = Gathered()
    if videos and "://" not in videos:
        videos = str(Path(videos).expanduser().absolute())
    if format == "shards":
        root = videos or shards.root_of(path)
        files = shards.gather(path, gathered)
    else:
        root = videos or str(path if path.is_dir() else path.parent)
        files = [_gather(path, file, format, gathered, text_only) for file in files_of(path)]
    if not gathered.texts:
        why = gathered.rejected[0].detail if gathered.rejected else "there is no record in it"
        raise SourceError(f"{path} gives no pair as --format {format}: {why}")
    alone = tuple(gathered.texts.pop("", ()))
    sources = [PairSource(uri=u, location=locate(u, root), texts=tuple(t)) for u, t in gathered.texts.items()]
    facts = InputFacts(path=str(path), format=format, videos_root=root, files=tuple(files))
    return PairInput(tuple(sources), tuple(gathered.rejected), facts, alone)


def detect(path: Path) -> str:
    """The format that the first record looks like; raises SourceError where it looks like none."""
    if path.is_dir() and (path / "data").is_dir():
        return "shards"
    for _, values in _records(files_of(path)[0]):
        if not isinstance(values, dict):
            break
        if "QA" in values:
            return "videochat2"
        if "conversations" in values:
            return "llava"  # also where this one is about an image: in mixed sets others are about videos
        if "uri" in values:
            return "manifest"
        keys = ", ".join(map(str, values)) or "(none)"
        raise SourceError(
            f"{path}, record 0: its keys are {keys}; known are uri and caption or qa (manifest), video and "
            "conversations (llava), video and QA (videochat2)"
        )
    raise SourceError(f"{path}: no list of records; give --format and a file of it")


def files_of(path: Path) -> list[Path]:
    """The files with records: this one, or all JSON files of a folder."""
    if not path.is_dir():
        if path.suffix.lower() not in {*TABLES, ".json"}:
            raise SourceError(f"{path}: the suffixes known are .json, {', '.join(sorted(TABLES))}")
        return [path]
    files = sorted(p for p in path.rglob("*.json") if not _hidden(p.relative_to(path)))
    if not files:
        raise SourceError(f"{path}: no .json file in it, and no data/ of a build")
    return files


def _hidden(inside: Path) -> bool:
    return any(part.startswith(".") for part in inside.parts)


def subset_of(file: Path, root: Path) -> str:
    """The name of a file of records; where files are only called train.json, the folders that they lie in."""
    inside = file.relative_to(root) if file != root else Path(file.name)
    named = inside.with_suffix("")
    if named.name.lower() in SPLITS and len(named.parts) > 1:
        named = named.parent
    return named.as_posix()


def locate(uri: str, root: str) -> str:
    """Where a video lies: a path or URL as it is, else under the root, which may be a URL itself."""
    uri, root = uri.removeprefix("file://"), root.removeprefix("file://")
    if "://" in uri or Path(uri).is_absolute():
        return uri
    if "://" in root:
        return f"{root.rstrip('/')}/{uri}"
    return os.path.normpath(Path(root).expanduser().absolute() / uri)


def _gather(path: Path, file: Path, format: str, gathered: Gathered, text_only: bool) -> InputFile:
    relative = "" if file == path else file.relative_to(path).as_posix()
    subset = subset_of(file, path)
    parse: dict[str, Callable[[Values], Entry]] = {
        "manifest": lambda values: manifest.parse(values, subset),
        "llava": lambda values: llava.parse(values, subset, text_only=text_only),
        "videochat2": lambda values: videochat2.parse(values, subset),
        "image": lambda values: llava.parse(values, subset, medium="image", text_only=text_only),
    }
    count = 0
    for count, (where, values) in enumerate(_records(file), start=1):
        if not isinstance(values, dict):
            raise SourceError(f"{where}: {str(values)[:80]!r} is no record; write an object with its columns")
        if format == "manifest" and (unknown := sorted(set(values) - set(manifest.COLUMNS))):
            known = ", ".join(manifest.COLUMNS)
            raise SourceError(f"{where}: unknown column {', '.join(unknown)}; known are {known}")
        gathered.add(Place(file, relative, count - 1), values, parse[format])
    return InputFile(path=relative, sha256=sha256(file), records=count)


def _records(file: Path) -> Iterator[tuple[str, object]]:
    """Each record and where it stands."""
    if file.suffix.lower() != ".json":
        yield from {".jsonl": read_jsonl, ".csv": read_csv, ".parquet": read_parquet}[file.suffix.lower()](file)
        return
    try:
        found = parse_json(str(file), file.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SourceError(f"{file}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    if not isinstance(found, list):
        raise SourceError(f"{file}: holds {type(found).__name__}; a JSON list of records is asked for")
    for number, values in enumerate(found):
        yield f"{file}, record {number}", values
